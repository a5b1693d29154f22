//! The flags of `open`.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use super::usage::UsageError;
use super::words::{lossy, once, CommonFlags, Words};
use crate::plugin;
use crate::system::User;
use crate::within::Within;

/// A call passes its arguments in registers, which hold four words in every calling convention that matters here.
pub const CALL_ARGUMENTS_LIMIT_COUNT: usize = 4;

/// `open`.
#[derive(Debug, PartialEq, Eq)]
pub struct OpenOptions {
    /// The words before the plugins: what the process of each plugin is given too.
    pub flags: Vec<OsString>,
    /// For each plugin.
    pub timeout: Duration,
    /// For each stream.
    pub output_limit_bytes: usize,
    /// Variables to set, apart from those that this process has.
    pub environment: Vec<(OsString, OsString)>,
    /// Who opens the plugins; none for whoever this process is.
    pub user: Option<User>,
    /// The host that opens the plugins; none when this program does.
    pub within: Option<Within>,
    /// Directories that are empty when a plugin is opened.
    pub scratch: Vec<OsString>,
    /// The files, in order.
    pub plugins: Vec<OsString>,
}

/// How plugins are opened, and what they must have.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Contract {
    /// `--flags lazy`: resolve functions when they are called first.
    pub lazy: bool,
    /// `--scope global`: later libraries see the plugin's symbols.
    pub global: bool,
    /// `--keep-open`: end without closing the plugin, as hosts that never unload do.
    pub keep_open: bool,
    /// `--after`: the paths of plugins that are opened before, in order, and stay.
    pub before: Vec<OsString>,
    /// Names that must be there.
    pub symbols: Vec<OsString>,
    /// Functions to call, in order.
    pub calls: Vec<Call>,
}

/// A function of the plugin to call.
#[derive(Debug, PartialEq, Eq)]
pub struct Call {
    /// Its name.
    pub symbol: OsString,
    /// What it is given.
    pub arguments: Vec<Argument>,
    /// What it gives back.
    pub returns: Returns,
}

/// What a function is given.
#[derive(Debug, PartialEq, Eq)]
pub enum Argument {
    /// A pointer to a string that ends with NUL.
    String(OsString),
    /// A word.
    Integer(i64),
}

/// What a function gives back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Returns {
    /// Nothing that is looked at.
    #[default]
    None,
    /// A pointer to UTF-8 text that ends with NUL.
    String,
    /// 64 bits.
    Integer,
    /// 32 bits: C's `int`, which leaves the upper half of the register undefined.
    Int32,
}

impl Contract {
    /// Every symbol that is looked up, those of calls too, once and in that order.
    pub fn distinct_symbols(&self) -> Vec<&OsString> {
        let called = self.calls.iter().map(|call| &call.symbol);
        let mut distinct: Vec<&OsString> = Vec::new();
        for symbol in self.symbols.iter().chain(called) {
            if !distinct.contains(&symbol) {
                distinct.push(symbol);
            }
        }
        distinct
    }

    /// As many records as the loader tells of a plugin at most: one for each plugin before it, two for each symbol and call,
    /// and four or five beside.
    pub fn records_limit_count(&self) -> usize {
        self.before.len() + 2 * (self.distinct_symbols().len() + self.calls.len()) + 6
    }
}

impl Returns {
    /// Its name on the command line and in events.
    pub fn name(self) -> &'static str {
        match self {
            Returns::None => "none",
            Returns::String => "string",
            Returns::Integer => "integer",
            Returns::Int32 => "int32",
        }
    }

    /// Reads its name.
    pub fn parse(text: &str) -> Option<Returns> {
        [Returns::None, Returns::String, Returns::Integer, Returns::Int32]
            .into_iter()
            .find(|kind| kind.name() == text)
    }
}

/// Reads the words after `open`.
pub fn parse_open(words: Vec<OsString>) -> Result<(OpenOptions, Contract), UsageError> {
    let mut flags = words.clone();
    let mut words = Words::new(words);
    let mut common = CommonFlags::default();
    let mut contract = Contract::default();
    let (mut binding, mut scope, mut scratch) = (None, None, Vec::new());
    let (mut program, mut probe) = (None, None);
    while let Some(flag) = words.next_flag() {
        match flag.to_str() {
            Some("--flags") => {
                once(
                    "--flags",
                    &mut binding,
                    words.choice("--flags", "`now` or `lazy`", |text| match text {
                        "now" => Some(false),
                        "lazy" => Some(true),
                        _ => None,
                    })?,
                )?;
            }
            Some("--scope") => {
                once(
                    "--scope",
                    &mut scope,
                    words.choice("--scope", "`local` or `global`", |text| match text {
                        "local" => Some(false),
                        "global" => Some(true),
                        _ => None,
                    })?,
                )?;
            }
            Some("--keep-open") => contract.keep_open = true,
            Some("--within") => once(
                "--within",
                &mut program,
                words.path("--within", "an absolute path", b"")?,
            )?,
            Some("--probe") => {
                // Loaders take these for the ends of a name in a list.
                let takes = "an absolute path without spaces and colons";
                once(
                    "--probe",
                    &mut probe,
                    words.path("--probe", takes, b" \t\n\x0b\x0c\r:")?,
                )?;
            }
            Some("--after") => contract.before.push(plugin::as_path(&words.value("--after")?)),
            Some("--scratch") => scratch.push(words.value("--scratch")?),
            Some("--symbol") => contract.symbols.push(words.value("--symbol")?),
            Some("--call") => contract.calls.push(Call {
                symbol: words.value("--call")?,
                arguments: Vec::new(),
                returns: Returns::None,
            }),
            Some("--arg-string") => {
                let argument = Argument::String(words.value("--arg-string")?);
                push_argument(&mut contract, "--arg-string", argument)?;
            }
            Some("--arg-integer") => {
                let number = words.choice("--arg-integer", "a whole number of 64 bits", |text| text.parse().ok())?;
                push_argument(&mut contract, "--arg-integer", Argument::Integer(number))?;
            }
            Some("--returns") => {
                let takes = "`string`, `integer`, `int32` or `none`";
                let returns = words.choice("--returns", takes, Returns::parse)?;
                last_call(&mut contract, "--returns")?.returns = returns;
            }
            _ => common.take(&flag, &mut words)?,
        }
    }
    contract.lazy = binding.unwrap_or(false);
    contract.global = scope.unwrap_or(false);
    let within = match (program, probe) {
        (Some(program), Some(probe)) => Some(Within { program, probe }),
        (None, None) => None,
        (Some(_), None) => return Err(UsageError::Without("--within", "--probe")),
        (None, Some(_)) => return Err(UsageError::Without("--probe", "--within")),
    };
    let is_separated = words.is_separated;
    let plugins = words.rest();
    if plugins.is_empty() {
        return Err(UsageError::NoPlugin);
    }
    if let Some(late) = plugins
        .iter()
        .find(|word| !is_separated && word.as_bytes().starts_with(b"-"))
    {
        return Err(UsageError::LateFlag(lossy(late)));
    }
    flags.truncate(flags.len() - plugins.len() - usize::from(is_separated));
    let options = OpenOptions {
        flags,
        timeout: common.timeout(),
        output_limit_bytes: common.output_limit_bytes(),
        environment: common.environment,
        user: common.user,
        within,
        scratch,
        plugins,
    };
    Ok((options, contract))
}

fn last_call<'a>(contract: &'a mut Contract, flag: &'static str) -> Result<&'a mut Call, UsageError> {
    contract
        .calls
        .last_mut()
        .ok_or(UsageError::OutOfPlace { flag, after: "--call" })
}

fn push_argument(contract: &mut Contract, flag: &'static str, argument: Argument) -> Result<(), UsageError> {
    let call = last_call(contract, flag)?;
    if call.arguments.len() == CALL_ARGUMENTS_LIMIT_COUNT {
        return Err(UsageError::TooManyArguments(lossy(&call.symbol)));
    }
    call.arguments.push(argument);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arguments::tests::words;
    use crate::arguments::{parse, Invocation};

    fn open(line: &str) -> (OpenOptions, Contract) {
        parse_open(words(line)).unwrap_or_else(|error| panic!("{line}: {error}"))
    }

    #[test]
    fn plugins_follow_flags() {
        let (options, contract) = open("--flags lazy --scope global --keep-open --symbol a --symbol b -- -x.so y.so");
        assert_eq!(options.plugins, words("-x.so y.so"));
        assert_eq!(
            options.flags,
            words("--flags lazy --scope global --keep-open --symbol a --symbol b")
        );
        assert!(contract.lazy && contract.global && contract.keep_open);
        assert_eq!(contract.symbols, words("a b"));

        let (options, contract) = open("a.so b.so");
        assert_eq!((options.flags, options.plugins), (words(""), words("a.so b.so")));
        assert_eq!(contract, Contract::default());
        assert_eq!(options.timeout, Duration::from_secs(30));
        assert_eq!(options.output_limit_bytes, 262_144);

        // A value may look like the separator.
        let (options, _) = open("--symbol -- x.so");
        assert_eq!((options.flags, options.plugins), (words("--symbol --"), words("x.so")));
    }

    #[test]
    fn arguments_belong_to_the_call_before_them() {
        let (_, contract) = open("--call a --arg-string -x --arg-integer -7 --returns string --call b x.so");
        let expect = vec![
            Call {
                symbol: "a".into(),
                arguments: vec![Argument::String("-x".into()), Argument::Integer(-7)],
                returns: Returns::String,
            },
            Call {
                symbol: "b".into(),
                arguments: Vec::new(),
                returns: Returns::None,
            },
        ];
        assert_eq!(contract.calls, expect);
    }

    #[test]
    fn a_plugin_process_gets_the_same_flags() {
        let line = "--after /a.so --after b.so --symbol a --call b --returns int32 --env A=b=c --timeout-ms 5 --output-limit-bytes 9 --user 7:8 --scratch /a --scratch /b";
        let (options, contract) = open(&format!("{line} x.so y.so"));
        assert_eq!(options.environment, [("A".into(), "b=c".into())]);
        assert_eq!(options.user, Some(User { uid: 7, gid: 8 }));
        assert_eq!(options.scratch, words("/a /b"));
        assert_eq!(contract.before, words("/a.so ./b.so"));
        assert_eq!(
            (options.timeout, options.output_limit_bytes),
            (Duration::from_millis(5), 9)
        );
        let mut one = vec![OsString::from("open-one")];
        one.extend(options.flags);
        one.extend(words("-- y.so"));
        assert_eq!(parse(one), Ok(Invocation::OpenOne(contract, "y.so".into())));
    }
}
