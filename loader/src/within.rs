//! A host that opens its plugins itself: its program, started with the probe preloaded, and the question to the probe.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::process::Command;

use crate::arguments::{Argument, Contract, Returns};
use crate::plugin;

/// The variable that holds the question. The probe removes it before anything of the plugin runs.
const QUESTION_VARIABLE: &str = "LOCKSTEP_PROBE_QUESTION";
/// What loaders read. The probe restores what was given, as if it had never been there.
pub const PRELOAD_VARIABLE: &str = "LD_PRELOAD";

/// A host, and what makes it open plugins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Within {
    /// The host's absolute path.
    pub program: OsString,
    /// The probe's absolute path, which a loader can tell from others in a list.
    pub probe: OsString,
}

impl Within {
    /// The host's process for one plugin. `preloaded` is what the host would be given to preload without the probe.
    pub fn command(
        &self,
        contract: &Contract,
        plugin: &OsStr,
        environment: &[(OsString, OsString)],
        preloaded: Option<OsString>,
    ) -> Command {
        let given = environment.iter().rev().find(|(name, _)| name == PRELOAD_VARIABLE);
        let preloaded = given.map(|(_, value)| value.clone()).or(preloaded);
        let mut preload = self.probe.clone();
        if let Some(others) = preloaded.as_ref().filter(|others| !others.is_empty()) {
            preload.push(":");
            preload.push(others);
        }
        let mut command = Command::new(&self.program);
        command.envs(environment.iter().map(|(name, value)| (name, value)));
        command.env(PRELOAD_VARIABLE, preload);
        command.env(QUESTION_VARIABLE, self.question(contract, plugin, preloaded.as_deref()));
        command
    }

    /// What the probe is to do, as items: a letter, the number of bytes, a colon, the bytes, and a comma. No word of a
    /// command line holds NUL, so neither does the question.
    fn question(&self, contract: &Contract, plugin: &OsStr, preloaded: Option<&OsStr>) -> OsString {
        let mut question = Question(Vec::new());
        question.item(b'w', &self.program);
        if let Some(preloaded) = preloaded {
            let mut entry = OsString::from(format!("{PRELOAD_VARIABLE}="));
            entry.push(preloaded);
            question.item(b'e', &entry);
        }
        for (letter, is_so) in [
            (b'l', contract.lazy),
            (b'g', contract.global),
            (b'k', contract.keep_open),
        ] {
            if is_so {
                question.item(letter, OsStr::new(""));
            }
        }
        for earlier in &contract.before {
            question.item(b'b', earlier);
        }
        question.item(b'p', &plugin::as_path(plugin));
        for symbol in contract.distinct_symbols() {
            question.item(b's', symbol);
        }
        for call in &contract.calls {
            question.item(b'c', &call.symbol);
            if call.returns != Returns::None {
                question.item(b'r', OsStr::new(call.returns.name()));
            }
            for argument in &call.arguments {
                match argument {
                    Argument::String(text) => question.item(b't', text),
                    Argument::Integer(number) => question.item(b'i', OsStr::new(&number.to_string())),
                }
            }
        }
        OsStr::from_bytes(&question.0).to_owned()
    }
}

/// The items so far.
struct Question(Vec<u8>);

impl Question {
    fn item(&mut self, letter: u8, value: &OsStr) {
        self.0.push(letter);
        self.0.extend_from_slice(format!("{}:", value.len()).as_bytes());
        self.0.extend_from_slice(value.as_bytes());
        self.0.push(b',');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arguments::Call;

    fn within() -> Within {
        Within {
            program: "/h".into(),
            probe: "/p.so".into(),
        }
    }

    fn variable(command: &Command, name: &str) -> Option<String> {
        let (_, value) = command.get_envs().find(|(known, _)| *known == name)?;
        value.map(|value| value.to_string_lossy().into_owned())
    }

    #[test]
    fn the_question_is_the_contract() {
        let contract = Contract {
            lazy: true,
            keep_open: true,
            before: vec!["/d.so".into(), "./e.so".into()],
            symbols: vec!["a".into(), "b".into(), "a".into()],
            calls: vec![Call {
                symbol: "b".into(),
                arguments: vec![Argument::String("é,".into()), Argument::Integer(-7)],
                returns: Returns::Int32,
            }],
            ..Contract::default()
        };
        let command = within().command(&contract, OsStr::new("x.so"), &[], None);
        assert_eq!(
            variable(&command, QUESTION_VARIABLE).unwrap(),
            "w2:/h,l0:,k0:,b5:/d.so,b6:./e.so,p6:./x.so,s1:a,s1:b,c1:b,r5:int32,t3:é,,i2:-7,"
        );
        assert_eq!(variable(&command, PRELOAD_VARIABLE).unwrap(), "/p.so");
    }

    #[test]
    fn what_is_preloaded_besides_stays_behind_the_probe() {
        let variables = |environment: &[(&str, &str)], inherited: Option<&str>| {
            let environment: Vec<(OsString, OsString)> = environment
                .iter()
                .map(|(name, value)| (name.into(), value.into()))
                .collect();
            let inherited = inherited.map(OsString::from);
            let command = within().command(&Contract::default(), OsStr::new("/x"), &environment, inherited);
            let question = variable(&command, QUESTION_VARIABLE).unwrap();
            (variable(&command, PRELOAD_VARIABLE).unwrap(), question)
        };
        let given = [("LD_PRELOAD", "/a.so"), ("LD_PRELOAD", "/b.so")];
        for (environment, inherited, preload, question) in [
            (
                &given[..],
                Some("/i.so"),
                "/p.so:/b.so",
                "w2:/h,e16:LD_PRELOAD=/b.so,p2:/x,",
            ),
            (&[], Some("/i.so"), "/p.so:/i.so", "w2:/h,e16:LD_PRELOAD=/i.so,p2:/x,"),
            (&[("LD_PRELOAD", "")], None, "/p.so", "w2:/h,e11:LD_PRELOAD=,p2:/x,"),
            (&[], None, "/p.so", "w2:/h,p2:/x,"),
        ] {
            assert_eq!(
                variables(environment, inherited),
                (preload.to_owned(), question.to_owned())
            );
        }
    }
}
