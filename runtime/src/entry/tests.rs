//! What `STARIO_BOOTSTRAP` may say.

use super::*;

fn all() -> Vec<Bootstrap> {
    let paths = ["bootstrap", "crate :: admin :: bootstrap", "self::worker::start"];
    paths.map(|path| Bootstrap { path, run: |_, _| Box::pin(async { Ok(()) }) }).into()
}

#[test]
fn a_bootstrap_is_found_by_its_path_however_it_is_written() {
    let all = all();
    let chosen = |wanted| choose(&all, wanted).map(Bootstrap::name);
    assert_eq!(chosen(None), Ok("bootstrap".to_owned()));
    assert_eq!(chosen(Some("bootstrap")), Ok("bootstrap".to_owned()));
    assert_eq!(chosen(Some("admin::bootstrap")), Ok("admin::bootstrap".to_owned()));
    assert_eq!(chosen(Some("crate::admin::bootstrap")), Ok("admin::bootstrap".to_owned()));
    assert_eq!(chosen(Some("worker::start")), Ok("worker::start".to_owned()));
}

#[test]
fn the_nearest_is_suggested_where_one_is_near() {
    let all = all();
    let refused = |wanted| choose(&all, Some(wanted)).map(Bootstrap::name).unwrap_err();
    assert_eq!(
        refused("admin::bootsrap"),
        "STARIO_BOOTSTRAP is \"admin::bootsrap\", which `stario::main!` does not list; there is \
         `bootstrap`, `admin::bootstrap`, `worker::start`; did you mean `admin::bootstrap`?"
    );
    assert_eq!(
        refused("xyz"),
        "STARIO_BOOTSTRAP is \"xyz\", which `stario::main!` does not list; there is \
         `bootstrap`, `admin::bootstrap`, `worker::start`"
    );
}
