//! `MODULE[:FUNCTION]` as written, taken apart.

use std::fmt;

use crate::error::Failure;

/// An entry as written. Every part is non-empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct EntryPath {
    /// The first segment: `main`, or what a binary, an example or a package is called.
    pub(super) target: String,
    /// The module inside.
    pub(super) modules: Vec<String>,
    /// The function in that module.
    pub(super) function: Option<String>,
}

/// The form, for `help:`.
const FORM: &str =
    "an entry has the form MODULE[:FUNCTION], as in `main:bootstrap` or `main::admin:bootstrap`";

impl EntryPath {
    /// The default binary, and no function.
    pub(super) fn main() -> Self {
        Self { target: "main".into(), modules: Vec::new(), function: None }
    }

    /// Takes an entry apart.
    ///
    /// # Errors
    ///
    /// It has not the form; the message says where. `origin` is put behind the entry.
    pub(super) fn parse(text: &str, origin: &str) -> Result<Self, Failure> {
        parse(text).map_err(|(reason, help)| {
            let failure = Failure::usage(format!("malformed entry `{text}`{origin}: {reason}"));
            help.into_iter().fold(failure, Failure::help).help(FORM)
        })
    }

    /// The module's path, as in `main::admin`.
    pub(super) fn module(&self) -> String {
        let segments = std::iter::once(&self.target).chain(&self.modules);
        segments.map(String::as_str).collect::<Vec<_>>().join("::")
    }

    /// The function's path inside the binary, as in `admin::bootstrap`.
    pub(super) fn inside(&self) -> Option<String> {
        let function = self.function.as_ref()?;
        let segments = self.modules.iter().chain([function]);
        Some(segments.map(String::as_str).collect::<Vec<_>>().join("::"))
    }
}

impl fmt::Display for EntryPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.module())?;
        self.function.iter().try_for_each(|function| write!(f, ":{function}"))
    }
}

/// Why it is malformed, and what was probably meant.
type Malformed = (String, Option<String>);

fn parse(text: &str) -> Result<EntryPath, Malformed> {
    let malformed = |reason: &str| (reason.to_owned(), None);
    if text.is_empty() {
        return Err(malformed("it is empty"));
    }
    if names_file(text) {
        return Err(("it names a file, not a module".into(), meant_by_file(text)));
    }
    // A single colon parts module and function, a double one two modules.
    let (module, function) = match single_colons(text).as_slice() {
        [] => (text, None),
        [at] => (&text[..*at], Some(&text[at + 1..])),
        _ => return Err(malformed("it has more than one `:FUNCTION`")),
    };
    if let Some(function) = function {
        if module.is_empty() {
            return Err(malformed("no module in front of `:`"));
        }
        if function.is_empty() {
            return Err(malformed("no function behind `:`"));
        }
        if let Some((inner, last)) = function.rsplit_once("::") {
            let meant = format!("did you mean `{module}::{inner}:{last}`?");
            return Err(("modules go in front of the single `:`".into(), Some(meant)));
        }
    }
    let mut segments = module.split("::");
    let target = segments.next().unwrap_or_default();
    let modules: Vec<_> = segments.collect();
    if target.is_empty() || modules.iter().any(|segment| segment.is_empty()) {
        return Err(malformed("a module's name is missing beside `::`"));
    }
    if !is_target(target) {
        return Err((format!("`{target}` cannot be the name of a binary or a package"), None));
    }
    let mut identifiers = modules.iter().chain(&function);
    if let Some(wrong) = identifiers.find(|segment| !is_identifier(segment)) {
        return Err((format!("`{wrong}` is not an identifier"), None));
    }
    Ok(EntryPath {
        target: target.into(),
        modules: modules.into_iter().map(raw).collect(),
        function: function.map(raw),
    })
}

/// Where a colon stands that has no colon beside it; one of three in a row counts as such.
fn single_colons(text: &str) -> Vec<usize> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(next) = text[at..].find(':').map(|next| at + next) {
        let run = text[next..].bytes().take_while(|byte| *byte == b':').count();
        if run % 2 == 1 {
            found.push(next + run - 1);
        }
        at = next + run;
    }
    found
}

/// A path to a source file stands in place of a module.
fn names_file(text: &str) -> bool {
    let file = text.split(':').next().unwrap_or_default();
    file.contains(['/', '\\']) || without_extension(file).is_some()
}

/// What was probably meant by a path to a source file.
fn meant_by_file(text: &str) -> Option<String> {
    let (file, function) = text.split_once(':')?;
    let stem = without_extension(file).unwrap_or(file).rsplit(['/', '\\']).next()?;
    (is_target(stem) && is_identifier(function))
        .then(|| format!("did you mean `{stem}:{function}`?"))
}

fn without_extension(file: &str) -> Option<&str> {
    file.strip_suffix(".rs").or_else(|| file.strip_suffix(".py"))
}

/// What cargo lets a binary or a package be called, without dots.
fn is_target(text: &str) -> bool {
    !text.starts_with('-')
        && !text.is_empty()
        && text.chars().all(|c| c.is_alphanumeric() || matches!(c, '-' | '_'))
}

/// An identifier, also a raw one. Near enough to the language's own rule: what slips through is not
/// found in the source.
fn is_identifier(text: &str) -> bool {
    let mut characters = text.strip_prefix("r#").unwrap_or(text).chars();
    characters.next().is_some_and(|c| c.is_alphabetic() || c == '_')
        && characters.all(|c| c.is_alphanumeric() || c == '_')
}

/// An identifier without the `r#` that makes it one.
fn raw(identifier: &str) -> String {
    identifier.strip_prefix("r#").unwrap_or(identifier).into()
}

#[cfg(test)]
mod tests {
    // As snapbox writes them.
    #![allow(clippy::needless_raw_string_hashes)]

    use snapbox::{assert_data_eq, str};

    use super::EntryPath;
    use crate::error::Failure;

    fn parsed(text: &str) -> EntryPath {
        EntryPath::parse(text, "").unwrap_or_else(|failure| panic!("{failure}"))
    }

    #[test]
    fn an_entry_is_taken_apart() {
        let entry = parsed("my-app::admin::api:bootstrap");
        assert_eq!(entry.target, "my-app");
        assert_eq!(entry.modules, ["admin", "api"]);
        assert_eq!(entry.function.as_deref(), Some("bootstrap"));
        assert_eq!(entry.module(), "my-app::admin::api");
        assert_eq!(entry.inside().as_deref(), Some("admin::api::bootstrap"));
        assert_eq!(entry.to_string(), "my-app::admin::api:bootstrap");

        assert_eq!(parsed("main").function, None);
        assert_eq!(parsed("main:bootstrap").inside().as_deref(), Some("bootstrap"));
        assert_eq!(parsed("main::r#async:r#try").inside().as_deref(), Some("async::try"));
    }

    #[test]
    fn each_mistake_is_said() {
        let mistakes = [
            "",
            "main:",
            ":bootstrap",
            ":",
            "::",
            "a:b:c",
            "a:::b",
            "main::",
            "main::::x",
            "::main",
            "main:admin::bootstrap",
            "ma in:b",
            "-x",
            "main:2x",
            "main::a-b:c",
            "main:boot()",
            "src/main.rs:bootstrap",
            "main.py:bootstrap",
            "src/",
            "a.b:c",
        ];
        let said: Vec<_> = mistakes
            .iter()
            .map(|text| {
                let failure = EntryPath::parse(text, "").expect_err("a mistake");
                assert_eq!(failure.code, 2);
                let Failure { message, help, .. } = failure;
                assert_eq!(help.last().map(String::as_str), Some(super::FORM));
                let meant: Vec<_> =
                    help[..help.len() - 1].iter().map(|it| format!("\n  {it}")).collect();
                message + &meant.concat()
            })
            .collect();
        assert_data_eq!(
            said.join("\n"),
            str![[r#"
malformed entry ``: it is empty
malformed entry `main:`: no function behind `:`
malformed entry `:bootstrap`: no module in front of `:`
malformed entry `:`: no module in front of `:`
malformed entry `::`: a module's name is missing beside `::`
malformed entry `a:b:c`: it has more than one `:FUNCTION`
malformed entry `a:::b`: a module's name is missing beside `::`
malformed entry `main::`: a module's name is missing beside `::`
malformed entry `main::::x`: a module's name is missing beside `::`
malformed entry `::main`: a module's name is missing beside `::`
malformed entry `main:admin::bootstrap`: modules go in front of the single `:`
  did you mean `main::admin:bootstrap`?
malformed entry `ma in:b`: `ma in` cannot be the name of a binary or a package
malformed entry `-x`: `-x` cannot be the name of a binary or a package
malformed entry `main:2x`: `2x` is not an identifier
malformed entry `main::a-b:c`: `a-b` is not an identifier
malformed entry `main:boot()`: `boot()` is not an identifier
malformed entry `src/main.rs:bootstrap`: it names a file, not a module
  did you mean `main:bootstrap`?
malformed entry `main.py:bootstrap`: it names a file, not a module
  did you mean `main:bootstrap`?
malformed entry `src/`: it names a file, not a module
malformed entry `a.b:c`: `a.b` cannot be the name of a binary or a package
"#]]
        );
    }
}
