//! `contract:`.

use std::collections::BTreeMap;

use crate::nearest::nearest;
use crate::yaml::{Decoded, Fields, Value};

use super::fit;
use super::project::{Abi, Argument, Call, Contract, Loader, Returns};
use super::scope::{Spoken, claim};

/// The keys of a contract.
const KEYS: &[&str] = &["loader", "abi", "symbols", "calls"];
/// The keys of a call.
const CALL_KEYS: &[&str] = &["symbol", "args", "returns"];
/// What the smoke loader passes: as many as every calling convention that matters has registers for.
const ARGUMENTS_LIMIT_COUNT: usize = 4;

/// `languages` are the units', as far as they are known.
pub(super) fn contract(value: Value<'_>, languages: &[Spoken<'_>]) -> Decoded<Contract> {
    value.fields("a contract", KEYS, |fields| {
        let loader = fields.required("loader", "`dlopen` or `go`", |value| {
            value.one_of("loader", &[("dlopen", Loader::Dlopen), ("go", Loader::Go)])
        });
        let abi = fields.required("abi", "`c`, `cxx`, `rust` or `go`", abi);
        let fit = match (loader, abi) {
            (Ok(loader), Ok((abi, place))) => fit::check(loader, abi, place, languages),
            _ => Ok(()),
        };
        let symbols = symbols(&fields);
        let calls = fields.or("calls", Vec::new(), |value| {
            value.list(|item| call(item, symbols.as_deref().ok()))
        });
        fit?;
        Ok(Contract {
            loader: loader?,
            abi: abi?.0,
            symbols: symbols?,
            calls: calls?,
        })
    })
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
