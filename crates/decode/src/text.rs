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

/// As long as a DNS name may be.
pub const HOST_BYTES_MAX: usize = 253;

/// A host's name or address in lower case, without the final dot. None if it has other signs than these have.
pub(crate) fn host(bytes: &[u8]) -> Option<String> {
    let bare = bytes.strip_suffix(b".").unwrap_or(bytes);
    let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b".-_:".contains(byte);
    let text = std::str::from_utf8(bare).ok()?;
    (!bare.is_empty() && bare.len() <= HOST_BYTES_MAX && bare.iter().all(allowed)).then(|| text.to_ascii_lowercase())
}
