//! Kinds of messages of glibc's loader: predictions are compared by these, and counted.

/// The message without the names in it.
pub(crate) fn of_message(message: &str) -> &'static str {
    const CLASSES: &[(&str, &str)] = &[
        ("undefined symbol", "undefined-symbol"),
        (
            "cannot open shared object file: No such file or directory",
            "no-such-file",
        ),
        ("cannot open shared object file", "cannot-open"),
        ("not found (required by", "version-not-found"),
        ("cannot allocate memory in static TLS block", "static-tls"),
        ("invalid ELF header", "invalid-header"),
        ("file too short", "too-short"),
        ("wrong ELF class", "wrong-class"),
        ("cannot dynamically load position-independent executable", "executable"),
        ("cannot dynamically load executable", "executable"),
        ("shared object cannot be dlopen()ed", "no-open"),
        ("only ET_DYN and ET_EXEC can be loaded", "wrong-type"),
        ("cannot read file data", "unreadable"),
        ("ELF file OS ABI invalid", "os-abi"),
        ("CPU ISA level is lower than required", "processor-level"),
        ("failed to map segment", "cannot-map"),
        ("cannot enable executable stack", "executable-stack"),
    ];
    CLASSES
        .iter()
        .find(|(words, _)| message.contains(words))
        .map_or("other", |(_, class)| class)
}
