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
        let symbols = symbols(&fields);
        let calls = fields.or("calls", Vec::new(), |value| {
            value.list(|item| call(item, symbols.as_deref().ok()))
        });
        let flags = fields.optional("flags", flags);
        let scope = fields.optional("scope", scope);
        let opened_by = fields.optional("opened_by", |value| {
            opened_by(value, loader.ok(), symbols.as_deref().ok(), calls.as_deref().ok())
        });
        let into = fields.optional("into", artifact::directory);
        fit?;
        Ok(Contract {
            loader: loader?,
            abi: abi?.0,
            symbols: symbols?,
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
        let symbols = symbols(&fields);
        let calls = fields.or("calls", Vec::new(), |value| {
            value.list(|item| call(item, symbols.as_deref().ok()))
        });
        let flags = fields.optional("flags", flags);
        let scope = fields.optional("scope", scope);
        let opened_by = fields.optional("opened_by", |value| opened_by(value, None, None, None));
        let into = fields.optional("into", artifact::directory);
        calls?;
        opened_by?;
        into?;
        Ok(CheckContract {
            loader: loader?,
            abi: abi?,
            symbols: symbols?,
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

fn symbols(fields: &Fields<'_, '_>) -> Decoded<Vec<String>> {
    fields.or("symbols", Vec::new(), |value| {
        let mut taken = BTreeMap::new();
        value.list(|item| {
            let text = item.filled_text()?;
            if text.contains(|character: char| character.is_whitespace() || character.is_control()) {
                let label = "write the name as `nm -D` shows it";
                return Err(item.report(format!("`{text}` is no symbol"), label));
            }
            claim(&mut taken, "symbol", text, item)?;
            Ok(text.to_owned())
        })
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
