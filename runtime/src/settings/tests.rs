//! What each variable may say.

use super::*;

fn read(variables: &[(&str, &str)]) -> Result<Settings, String> {
    Settings::read(|name| {
        let found = variables.iter().find(|variable| variable.0 == name);
        found.map(|variable| OsString::from(variable.1))
    })
}

#[test]
fn defaults() {
    let expected = Settings {
        host: "127.0.0.1".to_owned(),
        port: 8000,
        unix_socket: None,
        unix_socket_mode: 0o660,
        grace: Duration::from_secs(5),
        tracer: Tracer::Auto,
        bootstrap: None,
        dev: false,
    };
    assert_eq!(read(&[]), Ok(expected.clone()));
    let names = [
        "STARIO_HOST",
        "STARIO_PORT",
        "PORT",
        "STARIO_UNIX_SOCKET",
        "STARIO_UNIX_SOCKET_MODE",
        "STARIO_GRACE",
        "STARIO_TRACER",
        "STARIO_BOOTSTRAP",
        "STARIO_DEV",
    ];
    assert_eq!(read(&names.map(|name| (name, ""))), Ok(expected), "empty is not set");
}

#[test]
fn values() {
    let all = read(&[
        ("STARIO_HOST", "::1"),
        ("STARIO_PORT", "0"),
        ("PORT", "3000"),
        ("STARIO_UNIX_SOCKET", "/run/app.socket"),
        ("STARIO_UNIX_SOCKET_MODE", "0600"),
        ("STARIO_GRACE", "1.5"),
        ("STARIO_TRACER", "json"),
        ("STARIO_BOOTSTRAP", "admin::bootstrap"),
        ("STARIO_DEV", "1"),
    ]);
    let expected = Settings {
        host: "::1".to_owned(),
        port: 0,
        unix_socket: Some(PathBuf::from("/run/app.socket")),
        unix_socket_mode: 0o600,
        grace: Duration::from_millis(1500),
        tracer: Tracer::Json,
        bootstrap: Some("admin::bootstrap".to_owned()),
        dev: true,
    };
    assert_eq!(all, Ok(expected));
}

#[test]
fn port_counts_where_nothing_stronger_names_one() {
    assert_eq!(read(&[("PORT", "3000")]).unwrap().port, 3000);
    // What does not count is not read.
    let both = [("PORT", "http"), ("STARIO_PORT", "4000")];
    assert_eq!(read(&both).unwrap().port, 4000);
}

#[test]
fn every_tracer_and_way_to_write_a_mode() {
    let tracers = [
        ("auto", Tracer::Auto),
        ("tty", Tracer::Tty),
        ("json", Tracer::Json),
        ("noop", Tracer::Noop),
    ];
    for (value, tracer) in tracers {
        assert_eq!(read(&[("STARIO_TRACER", value)]).unwrap().tracer, tracer);
    }
    for value in ["660", "0660", "0o660", "00660"] {
        let settings = read(&[("STARIO_UNIX_SOCKET_MODE", value)]).unwrap();
        assert_eq!(settings.unix_socket_mode, 0o660, "{value}");
    }
}

#[test]
fn dev_is_said_with_1_only() {
    for value in ["0", "true", "no"] {
        assert!(!read(&[("STARIO_DEV", value)]).unwrap().dev);
    }
}

#[test]
fn a_bad_value_is_an_error_that_names_the_variable() {
    let bad = [
        ("STARIO_PORT", "http"),
        ("STARIO_PORT", "65536"),
        ("STARIO_PORT", "-1"),
        ("PORT", "3000 "),
        ("STARIO_UNIX_SOCKET_MODE", "0888"),
        ("STARIO_UNIX_SOCKET_MODE", "1777"),
        ("STARIO_UNIX_SOCKET_MODE", "+660"),
        ("STARIO_UNIX_SOCKET_MODE", "rw-rw----"),
        ("STARIO_GRACE", "5s"),
        ("STARIO_GRACE", "-1"),
        ("STARIO_GRACE", "NaN"),
        ("STARIO_GRACE", "inf"),
        ("STARIO_GRACE", "1e9"),
        ("STARIO_TRACER", "JSON"),
        ("STARIO_TRACER", "stdout"),
    ];
    let messages = bad.map(|variable| read(&[variable]).unwrap_err()).join("\n");
    snapbox::assert_data_eq!(
        messages,
        snapbox::str![[r#"
STARIO_PORT is "http", but it has to be a number from 0 (takes a free one) to 65535
STARIO_PORT is "65536", but it has to be a number from 0 (takes a free one) to 65535
STARIO_PORT is "-1", but it has to be a number from 0 (takes a free one) to 65535
PORT is "3000 ", but it has to be a number from 0 (takes a free one) to 65535
STARIO_UNIX_SOCKET_MODE is "0888", but it has to be an octal number from 0 to 777, as in 0660
STARIO_UNIX_SOCKET_MODE is "1777", but it has to be an octal number from 0 to 777, as in 0660
STARIO_UNIX_SOCKET_MODE is "+660", but it has to be an octal number from 0 to 777, as in 0660
STARIO_UNIX_SOCKET_MODE is "rw-rw----", but it has to be an octal number from 0 to 777, as in 0660
STARIO_GRACE is "5s", but it has to be a number of seconds from 0 to 86400, fractions allowed
STARIO_GRACE is "-1", but it has to be a number of seconds from 0 to 86400, fractions allowed
STARIO_GRACE is "NaN", but it has to be a number of seconds from 0 to 86400, fractions allowed
STARIO_GRACE is "inf", but it has to be a number of seconds from 0 to 86400, fractions allowed
STARIO_GRACE is "1e9", but it has to be a number of seconds from 0 to 86400, fractions allowed
STARIO_TRACER is "JSON", but it has to be one of auto, tty, json, noop
STARIO_TRACER is "stdout", but it has to be one of auto, tty, json, noop
"#]]
    );
}

#[cfg(unix)]
#[test]
fn what_is_no_text_is_an_error_too_except_in_a_path() {
    use std::os::unix::ffi::OsStringExt;
    let latin = || OsString::from_vec(b"caf\xe9".to_vec());
    let read = |wanted: &str| Settings::read(|name| (name == wanted).then(latin));
    let host = read("STARIO_HOST").unwrap_err();
    assert_eq!(host, "STARIO_HOST is \"caf\u{fffd}\", but it has to be a host name or an address");
    assert_eq!(read("STARIO_UNIX_SOCKET").unwrap().unix_socket, Some(PathBuf::from(latin())));
}
