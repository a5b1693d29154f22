//! `$ORIGIN` and the other tokens of search paths (ld.so(8), "Dynamic string tokens").

/// Replaces `$ORIGIN`, `$LIB` and `$PLATFORM`; none if a token is unknown, which drops the element.
pub(super) fn expand_tokens(
    element: &str,
    origin: &str,
    lib: &str,
    mut not_modelled: impl FnMut(&str),
) -> Option<String> {
    let mut expanded = String::new();
    let mut rest = element;
    while let Some(dollar) = rest.find('$') {
        expanded.push_str(&rest[..dollar]);
        rest = &rest[dollar..];
        let tokens = [("ORIGIN", origin), ("LIB", lib), ("PLATFORM", "x86_64")];
        let token = tokens.iter().find_map(|(token, value)| {
            let braced = format!("${{{token}}}");
            let plain = format!("${token}");
            if rest.starts_with(&braced) {
                return Some((braced.len(), *token, *value));
            }
            let after = rest.get(plain.len()..)?;
            let ends = !after.starts_with(|next: char| next.is_ascii_alphanumeric() || next == '_');
            (rest.starts_with(&plain) && ends).then_some((plain.len(), *token, *value))
        });
        if let Some((len, token, value)) = token {
            if token == "PLATFORM" {
                not_modelled("$PLATFORM, which depends on the processor");
            }
            expanded.push_str(value);
            rest = &rest[len..];
        } else {
            expanded.push('$');
            rest = &rest[1..];
        }
    }
    expanded.push_str(rest);
    Some(expanded)
}
