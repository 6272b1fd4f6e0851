#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Tracer {
    #[default]
    Auto,
    Tty,
    Json,
    Noop,
}
