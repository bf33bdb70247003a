//! Text from payloads, made harmless.

/// Appends `byte` to `text` if it is printable ASCII and not the escape itself, else as the three digits of RFC 1035, §5.1: `\ddd`.
/// `plain` says which printable bytes stand for themselves.
pub(crate) fn push_escaped(text: &mut String, byte: u8, plain: impl Fn(u8) -> bool) {
    if byte.is_ascii_graphic() && byte != b'\\' && plain(byte) {
        text.push(char::from(byte));
    } else {
        text.push('\\');
        for divisor in [100, 10, 1] {
            text.push(char::from(b'0' + byte / divisor % 10));
        }
    }
}
