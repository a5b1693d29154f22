//! `contract:`.

use std::collections::BTreeMap;

use crate::nearest::nearest;
use crate::yaml::{Decoded, Fields, Value};

use super::project::{Abi, Argument, BindingTime, Call, Contract, Loader, OpenedBy, Returns, ScopeFlag};
use super::scope::{Spoken, claim};
use super::{artifact, fit};

/// The keys of a contract.
const KEYS: &[&str] = &[
    "loader",
    "abi",
    "symbols",
    "calls",
    "flags",
    "scope",
    "opened_by",
    "into",
];
/// The keys of a symbol that is more than a name.
const SYMBOL_KEYS: &[&str] = &["name", "type"];
/// The keys of a call.
const CALL_KEYS: &[&str] = &["symbol", "args", "returns"];
/// What the smoke loader passes: as many as every calling convention that matters has registers for.
const ARGUMENTS_LIMIT_COUNT: usize = 4;

/// `languages` are the units', as far as they are known.
pub(super) fn contract<'a>(
    value: Value<'_>,
    languages: impl Iterator<Item = &'a Spoken<'a>> + Clone,
) -> Decoded<Contract> {
    value.fields("a contract", KEYS, |fields| {
        let loader = fields.required("loader", "`dlopen` or `go`", loader);
        let abi = fields.required("abi", "`c`, `cxx`, `rust` or `go`", abi);
        let fit = match (loader, abi) {
            (Ok(loader), Ok((abi, place))) => fit::check(loader, abi, place, languages),
            _ => Ok(()),
        };
        let symbols = symbols(&fields, loader != Ok(Loader::Dlopen));
        let names = symbols.as_ref().ok().map(|symbols| symbols.names.as_slice());
        let calls = fields.or("calls", Vec::new(), |value| value.list(|item| call(item, names)));
        let flags = fields.optional("flags", flags);
        let scope = fields.optional("scope", scope);
        let opened_by = fields.optional("opened_by", |value| {
            opened_by(value, loader.ok(), names, calls.as_deref().ok())
        });
        let into = fields.optional("into", artifact::directory);
        fit?;
        let Symbols { names, types } = symbols?;
        Ok(Contract {
            loader: loader?,
            abi: abi?.0,
            symbols: names,
            types,
            calls: calls?,
            flags: flags?,
            scope: scope?,
            opened_by: opened_by?,
            into: into?,
        })
    })
}

/// What a check must know of a contract; what is none was not said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CheckContract {
    /// `loader:`.
    pub loader: Option<Loader>,
    /// `abi:`.
    pub abi: Option<Abi>,
    /// `symbols:`.
    pub symbols: Vec<String>,
    /// The types of those of them of which one is said.
    pub types: BTreeMap<String, String>,
    /// `flags:`.
    pub flags: Option<BindingTime>,
    /// `scope:`.
    pub scope: Option<ScopeFlag>,
}

impl From<&Contract> for CheckContract {
    fn from(contract: &Contract) -> Self {
        Self {
            loader: Some(contract.loader),
            abi: Some(contract.abi),
            symbols: contract.symbols.clone(),
            types: contract.types.clone(),
            flags: contract.flags,
            scope: contract.scope,
        }
    }
}

/// A contract in a file of its own, or below `contract:` in a file that has more.
pub(super) fn alone(value: Value<'_>) -> Decoded<CheckContract> {
    if value.keys().contains(&"contract") {
        let found = value.entries(|key, value| {
            let is_contract = key.text().is_ok_and(|key| key == "contract");
            if is_contract { alone(value).map(Some) } else { Ok(None) }
        })?;
        return Ok(found.into_iter().flatten().next().unwrap_or_default());
    }
    if let Some(several) = value.child("contracts") {
        let label = "write the keys of the one that is meant into a file of their own";
        return Err(several.report("there are several contracts here", label));
    }
    value.fields("a contract", KEYS, |fields| {
        let loader = fields.optional("loader", loader);
        let abi = fields.optional("abi", |value| abi(value).map(|(abi, _)| abi));
        // What a type is compared with is known of Go's plugins alone, so that it must be said.
        let symbols = symbols(&fields, !matches!(loader, Ok(None | Some(Loader::Dlopen))));
        let names = symbols.as_ref().ok().map(|symbols| symbols.names.as_slice());
        let calls = fields.or("calls", Vec::new(), |value| value.list(|item| call(item, names)));
        let flags = fields.optional("flags", flags);
        let scope = fields.optional("scope", scope);
        let opened_by = fields.optional("opened_by", |value| opened_by(value, None, None, None));
        let into = fields.optional("into", artifact::directory);
        calls?;
        opened_by?;
        into?;
        let Symbols { names, types } = symbols?;
        Ok(CheckContract {
            loader: loader?,
            abi: abi?,
            symbols: names,
            types,
            flags: flags?,
            scope: scope?,
        })
    })
}

/// `loader`, `symbols` and `calls` are the contract's, where they are known.
fn opened_by(
    value: Value<'_>,
    loader: Option<Loader>,
    symbols: Option<&[String]>,
    calls: Option<&[Call]>,
) -> Decoded<OpenedBy> {
    let names = [
        ("host", OpenedBy::Host),
        ("loader", OpenedBy::Loader),
        ("nobody", OpenedBy::Nobody),
    ];
    let opened_by = value.one_of("opener", &names)?;
    match opened_by {
        OpenedBy::Host if loader == Some(Loader::Go) => Err(value.report(
            "a plugin of Go's is opened by the smoke loader, which is compiled as its host is",
            "remove it, or write `opened_by: loader`",
        )),
        OpenedBy::Nobody
            if symbols.is_some_and(|names| !names.is_empty()) || calls.is_some_and(|calls| !calls.is_empty()) =>
        {
            Err(value.report(
                "nobody would look for the contract's `symbols` and `calls`",
                "remove those, or write `opened_by: host`",
            ))
        }
        _ => Ok(opened_by),
    }
}

fn loader(value: Value<'_>) -> Decoded<Loader> {
    value.one_of("loader", &[("dlopen", Loader::Dlopen), ("go", Loader::Go)])
}

fn flags(value: Value<'_>) -> Decoded<BindingTime> {
    value.one_of("time", &[("now", BindingTime::Now), ("lazy", BindingTime::Lazy)])
}

fn scope(value: Value<'_>) -> Decoded<ScopeFlag> {
    value.one_of("scope", &[("local", ScopeFlag::Local), ("global", ScopeFlag::Global)])
}

fn abi(value: Value<'_>) -> Decoded<(Abi, Value<'_>)> {
    if matches!(value.word()?, "cpp" | "c++" | "C++") {
        let label = "did you mean `cxx`? (`cpp` is the language)";
        return Err(value.report(format!("unknown abi `{}`", value.word()?), label));
    }
    let names = [("c", Abi::C), ("cxx", Abi::Cxx), ("rust", Abi::Rust), ("go", Abi::Go)];
    value.one_of("abi", &names).map(|abi| (abi, value))
}

/// What is looked up.
struct Symbols {
    names: Vec<String>,
    /// By name; not all have one.
    types: BTreeMap<String, String>,
}

/// `is_typed` if the contract's loader is one of which plugins tell types.
fn symbols(fields: &Fields<'_, '_>, is_typed: bool) -> Decoded<Symbols> {
    let mut types = BTreeMap::new();
    let names = fields.or("symbols", Vec::new(), |value| {
        let mut taken = BTreeMap::new();
        value.list(|item| {
            if !item.is_mapping() {
                return symbol(item, &mut taken);
            }
            item.fields("a symbol", SYMBOL_KEYS, |fields| {
                let name = fields.required("name", "the name that the host looks up", |value| {
                    symbol(value, &mut taken)
                });
                let symbol_type = fields.optional("type", |value| symbol_type(value, is_typed));
                let (name, symbol_type) = (name?, symbol_type?);
                types.extend(symbol_type.map(|symbol_type| (name.clone(), symbol_type)));
                Ok(name)
            })
        })
    })?;
    Ok(Symbols { names, types })
}

fn symbol(value: Value<'_>, taken: &mut BTreeMap<String, usize>) -> Decoded<String> {
    let text = value.filled_text()?;
    if text.contains(|character: char| character.is_whitespace() || character.is_control()) {
        let label = "write the name as `nm -D` shows it";
        return Err(value.report(format!("`{text}` is no symbol"), label));
    }
    claim(taken, "symbol", text, value)?;
    Ok(text.to_owned())
}

/// What Go's sources may say, and what `reflect.Type.String()` says for it.
const OTHER_NAMES: [(&str, &str); 5] = [
    ("any", "interface {}"),
    ("byte", "uint8"),
    ("rune", "int32"),
    ("interface{", "interface {"),
    ("struct{", "struct {"),
];

/// The type of what a lookup yields.
fn symbol_type(value: Value<'_>, is_typed: bool) -> Decoded<String> {
    let text = value.filled_text()?;
    if !is_typed {
        let label = "types are for `loader: go`: what dlopen opens tells none";
        return Err(value.report("a symbol with a type", label));
    }
    if text.contains(char::is_control) || text.trim() != text {
        let label = "write it in one line, as reflect's Type.String() does";
        return Err(value.report(format!("`{text}` is no type"), label));
    }
    if !text.starts_with('*') && !text.starts_with("func(") {
        let label = "of a variable it yields a pointer (`*string`), of a function its type (`func(int) error`)";
        return Err(value.report(format!("a lookup yields no `{text}`"), label));
    }
    // Fields and methods may be called as they like.
    let has_members = text.contains("{ ");
    let other = OTHER_NAMES.iter().find(|(name, _)| {
        let is_word = !name.ends_with('{');
        has_word(text, name) && !(is_word && has_members)
    });
    match other {
        Some((name, meant)) => {
            let label = format!("write `{meant}` for `{name}`, as reflect's Type.String() does");
            Err(value.report(format!("no type is called `{text}`"), label))
        }
        None => Ok(text.to_owned()),
    }
}

/// Whether a name occurs that is not a part of a longer one, nor of a package.
fn has_word(text: &str, name: &str) -> bool {
    let is_part = |letter: char| letter.is_alphanumeric() || "_./-".contains(letter);
    text.match_indices(name).any(|(at, _)| {
        let (before, behind) = (&text[..at], &text[at + name.len()..]);
        // Three dots before the last parameter are no part of its type.
        let before = before.strip_suffix("...").unwrap_or(before);
        let is_longer = !name.ends_with('{') && behind.starts_with(is_part);
        !before.ends_with(is_part) && !is_longer
    })
}

fn call(value: Value<'_>, symbols: Option<&[String]>) -> Decoded<Call> {
    value.fields("a call", CALL_KEYS, |fields| {
        let symbol = fields.required("symbol", "one of the contract's `symbols`", |value| {
            called(value, symbols)
        });
        let args = fields.or("args", Vec::new(), |value| {
            let args = value.list(argument)?;
            if args.len() > ARGUMENTS_LIMIT_COUNT {
                let label = format!("a call has {ARGUMENTS_LIMIT_COUNT} at most");
                return Err(value.report(format!("{} arguments are too many", args.len()), label));
            }
            Ok(args)
        });
        let returns = fields.or("returns", Returns::None, |value| {
            let names = [
                ("string", Returns::String),
                ("integer", Returns::Integer),
                ("none", Returns::None),
            ];
            value.one_of("type", &names)
        });
        Ok(Call {
            symbol: symbol?,
            args: args?,
            returns: returns?,
        })
    })
}

fn called(value: Value<'_>, symbols: Option<&[String]>) -> Decoded<String> {
    let text = value.filled_text()?;
    match symbols {
        Some(symbols) if !symbols.iter().any(|symbol| symbol == text) && value.is_complete() => {
            let label = match nearest(text, symbols.iter().map(String::as_str)) {
                Some(symbol) => format!("did you mean `{symbol}`?"),
                None => "add it to `symbols`, so that every plugin is checked for it".to_owned(),
            };
            Err(value.report(format!("`{text}` is not among the contract's symbols"), label))
        }
        _ => Ok(text.to_owned()),
    }
}

fn argument(value: Value<'_>) -> Decoded<Argument> {
    match value.as_integer() {
        Some(number) => Ok(Argument::Integer(number)),
        None => value.text().map(|text| Argument::String(text.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_words_and_not_parts_of_others() {
        for (text, name) in [
            ("*any", "any"),
            ("func(int, ...any) error", "any"),
            ("*[]byte", "byte"),
            ("*map[rune]string", "rune"),
            ("func(interface{})", "interface{"),
            ("*struct{}", "struct{"),
        ] {
            assert!(has_word(text, name), "{text}");
        }
        for (text, name) in [
            ("*api.any", "any"),
            ("*company.Thing", "any"),
            ("*api.Box[example.com/any/thing.T]", "any"),
            ("func(interface {})", "interface{"),
            ("*bytes.Buffer", "byte"),
        ] {
            assert!(!has_word(text, name), "{text}");
        }
    }

    /// What is read of the types of a contract, or the labels of what is wrong.
    fn types(text: &str) -> Result<Vec<(String, String)>, Vec<String>> {
        let (contract, problems) = crate::yaml::read("config", "x.yaml", text.as_bytes(), "a contract", alone);
        match contract {
            Some(contract) => Ok(contract.types.into_iter().collect()),
            None => Err(problems.iter().map(ToString::to_string).collect()),
        }
    }

    #[test]
    fn a_type_is_one_that_a_lookup_yields_as_reflect_writes_it() {
        let text = "{loader: go, symbols: [A, {name: B, type: '*string'}, {name: C, type: 'func(int, ...interface {}) error'}]}";
        let pair = |name: &str, symbol_type: &str| (name.to_owned(), symbol_type.to_owned());
        let expect = vec![pair("B", "*string"), pair("C", "func(int, ...interface {}) error")];
        assert_eq!(types(text), Ok(expect));
        for (symbol_type, expect) in [
            ("string", "a lookup yields no `string`"),
            ("' *string'", "` *string` is no type"),
            ("func(...any)", "write `interface {}` for `any`"),
            ("'*[]byte'", "write `uint8` for `byte`"),
            ("''", "empty"),
        ] {
            let text = format!("{{loader: go, symbols: [{{name: B, type: {symbol_type}}}]}}");
            let problems = types(&text).unwrap_err();
            assert!(problems.iter().any(|problem| problem.contains(expect)), "{problems:?}");
        }
        for loader in ["", "loader: dlopen,"] {
            let text = format!("{{{loader} symbols: [{{name: B, type: '*string'}}]}}");
            let problems = types(&text).unwrap_err();
            assert!(problems[0].contains("types are for `loader: go`"), "{problems:?}");
        }
    }
}
