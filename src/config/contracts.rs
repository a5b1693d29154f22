//! `contract:` and `contracts:`: one for all plugins, or one for each kind of them.

use crate::name::ContractName;
use crate::nearest::nearest;
use crate::yaml::{Decoded, Fields, Value};

use super::contract::contract;
use super::named::name;
use super::project::{Contracts, NamedContract};
use super::scope::{Contracted, Scope};

/// The contracts of a project, whose units have been decoded.
pub(super) fn contracts<'v>(fields: &Fields<'v, '_>, scope: &Scope<'v, '_>) -> Decoded<Contracts> {
    let common = fields.get("contract");
    let named = fields.get("contracts");
    if common.is_none() && named.is_none() {
        let expected = "what the host expects of a plugin";
        return fields.required("contract", expected, |value| {
            Err(value.report_absent(expected, "add it"))
        });
    }
    let languages = |name: Option<&str>| {
        let name = name.map(str::to_owned);
        scope
            .languages
            .iter()
            .filter(move |spoken| spoken.role == super::unit_role::UnitRole::Host || spoken.contract == name.as_deref())
    };
    let common = fields.optional("contract", |value| {
        Ok(NamedContract {
            name: None,
            contract: contract(value, languages(None))?,
        })
    });
    let decoded = fields.optional("contracts", |value| {
        let contracts = value.entries(|key, value| {
            let name = name(key, ContractName::new);
            let contract = contract(value, languages(key.text().ok()));
            Ok(NamedContract {
                name: Some(name?),
                contract: contract?,
            })
        })?;
        if contracts.is_empty() {
            return Err(value.report("`contracts` has none", "add one: `handler: {loader: …, abi: …}`"));
        }
        Ok(contracts)
    });
    let kept = all_are_kept(fields, &scope.contracted);
    let (common, decoded) = (common?, decoded?);
    kept?;
    one_loader(fields, common.iter().chain(decoded.iter().flatten()))?;
    Contracts::new(common.into_iter().chain(decoded.into_iter().flatten()).collect()).ok_or(crate::yaml::Reported)
}

/// Reports each plugin whose contract there is not, and each contract that no plugin has.
fn all_are_kept(fields: &Fields<'_, '_>, contracted: &[Contracted<'_>]) -> Decoded<()> {
    let names = fields.get("contracts").map(|value| value.keys()).unwrap_or_default();
    let has_common = fields.get("contract").is_some();
    let mut kept = Ok(());
    for Contracted { value, name } in contracted {
        match name {
            Err(reported) => kept = Err(*reported),
            Ok(Some(name)) if !names.contains(name) && value.is_complete() => {
                let label = match nearest(name, names.iter().copied()) {
                    Some(meant) => format!("did you mean `{meant}`?"),
                    None if names.is_empty() => "add it below `contracts:`, or remove the key".to_owned(),
                    None => format!("there are `{}`", names.join("`, `")),
                };
                kept = Err(value.report(format!("there is no contract `{name}`"), label));
            }
            Ok(None) if !has_common => {
                let label = format!("add `contract:` with one of `{}`", names.join("`, `"));
                kept = Err(value.report_absent("which contract the plugin is held to is not said", label));
            }
            Ok(_) => {}
        }
    }
    // Which one a plugin was meant to name is not known.
    if kept.is_err() || contracted.is_empty() || !fields.value().is_complete() {
        return kept;
    }
    let is_kept = |name: Option<&str>| {
        contracted
            .iter()
            .any(|contracted| contracted.name.as_ref().ok() == Some(&name))
    };
    let mut report = |value: Value<'_>, name: Option<&str>| {
        let (message, label) = match name {
            Some(name) => (
                format!("no plugin has the contract `{name}`"),
                format!("write `contract: {name}` in a plugin, or remove it"),
            ),
            None => (
                "no plugin has this contract, as each names another one".to_owned(),
                "remove it".to_owned(),
            ),
        };
        kept = Err(value.report_absent(message, label));
    };
    if let Some(value) = fields.get("contract").filter(|_| !is_kept(None)) {
        report(value, None);
    }
    for name in names.into_iter().filter(|name| !is_kept(Some(name))) {
        if let Some(value) = fields.get("contracts").and_then(|value| value.child(name)) {
            report(value, Some(name));
        }
    }
    kept
}

/// One process of one host opens all plugins.
fn one_loader<'a>(fields: &Fields<'_, '_>, mut contracts: impl Iterator<Item = &'a NamedContract>) -> Decoded<()> {
    let Some(first) = contracts.next() else {
        return Ok(());
    };
    let Some(other) = contracts.find(|other| other.contract.loader != first.contract.loader) else {
        return Ok(());
    };
    let value = match &other.name {
        Some(name) => fields.get("contracts").and_then(|value| value.child(name.as_str())),
        None => fields.get("contract"),
    };
    let loader = value.and_then(|value| value.child("loader")).unwrap_or(fields.value());
    Err(loader.report(
        "the contracts of one host name one loader",
        "write the same `loader:` in all of them, or make another project of these plugins",
    ))
}
