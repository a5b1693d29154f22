//! What of a plugin's records can be believed: those that the loader tells, in the order in which it tells them.
//!
//! The plugin lives in the process that tells, so it can tell what it likes of itself. It cannot tell less than a plugin
//! would that keeps the contract, nor more, nor something else.

use std::borrow::Cow;
use std::ffi::{OsStr, OsString};

use crate::arguments::{Call, Contract, Returns};
use crate::channel::{Phase, Record, Returned, Value};

/// What was told until the first record that cannot be believed.
#[derive(Debug, Default)]
pub struct Testimony {
    /// What was going on last; none when nothing was told.
    pub phase: Option<Phase>,
    /// The symbol that was at work then.
    pub symbol: Option<String>,
    /// What could not be opened.
    pub refusal: Option<Refusal>,
    /// The symbols that are not there, with the loader's words.
    pub missing: Vec<(String, String)>,
    /// What the calls gave that came back.
    pub calls: Vec<Returned>,
    /// The loader's words when it could not close the plugin.
    pub not_closed: Option<String>,
    /// Whether all that there is to tell was told, and nothing else.
    pub is_whole: bool,
    /// Whether something was told that the loader does not tell there.
    pub is_broken: bool,
}

/// That the plugin could not be opened, or one before it.
#[derive(Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The path of the one before it that was refused; none when it was the plugin itself.
    pub before: Option<String>,
    /// The loader's words.
    pub message: String,
}

/// What may be told next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// The plugins before this one of those that come first were opened; nothing was told yet when it is the first.
    Before(usize),
    /// This one is being opened.
    OpenedBefore(usize),
    /// The plugin is being opened.
    Opened,
    /// The symbols before this one were looked up.
    Symbol(usize),
    /// This symbol is looked up.
    LookedUp(usize),
    /// The calls before this one came back.
    Call(usize),
    /// This call is made.
    Called(usize),
    /// Nothing is left but to close the plugin.
    Closing,
    /// The plugin is being closed.
    Closed,
    /// Nothing is left but to say so.
    Finishing,
    /// That was said.
    Done,
    /// The process ends.
    Over,
}

impl Testimony {
    /// Hears the records of a process that opens a plugin as the contract says; `is_readable` unless there was more that
    /// is no record.
    pub fn hear(records: Vec<Record>, is_readable: bool, contract: &Contract) -> Testimony {
        let symbols = contract.distinct_symbols();
        let mut testimony = Testimony::default();
        let mut place = Place::Before(0);
        for record in records {
            match testimony.take(place, record, contract, &symbols) {
                Some(next) => place = next,
                None => {
                    testimony.is_broken = true;
                    return testimony;
                }
            }
        }
        testimony.is_broken = !is_readable;
        testimony.is_whole = is_readable && place == Place::Over;
        testimony
    }

    /// Takes a record, and gives the place after it; none when the loader tells no such thing there.
    fn take(&mut self, place: Place, record: Record, contract: &Contract, symbols: &[&OsString]) -> Option<Place> {
        match (self.settle(place, &record, contract, symbols), record) {
            (Place::Before(index), Record::Phase(Phase::Before, Some(path)))
                if contract.before.get(index).is_some_and(|earlier| is(earlier, &path)) =>
            {
                self.enter(Phase::Before, Some(path), Place::OpenedBefore(index))
            }
            (Place::Before(index), Record::Phase(Phase::Open, None)) if index == contract.before.len() => {
                self.enter(Phase::Open, None, Place::Opened)
            }
            (Place::OpenedBefore(_) | Place::Opened, Record::NotLoadable(message)) => {
                // In the first of these places the symbol is the path, in the second there is none.
                let before = self.symbol.clone();
                self.refusal = Some(Refusal { before, message });
                Some(Place::Finishing)
            }
            (Place::Symbol(index), Record::Phase(Phase::Symbol, Some(name))) if is(symbols[index], &name) => {
                self.enter(Phase::Symbol, Some(name), Place::LookedUp(index))
            }
            (Place::LookedUp(index), Record::Missing(name, message)) if is(symbols[index], &name) => {
                self.missing.push((name, message));
                Some(Place::Symbol(index + 1))
            }
            (Place::Call(index), Record::Phase(Phase::Call, Some(name)))
                if is(&contract.calls[index].symbol, &name) =>
            {
                self.enter(Phase::Call, Some(name), Place::Called(index))
            }
            (Place::Called(index), Record::Returned(returned)) if answers(&returned, &contract.calls[index]) => {
                self.calls.push(returned);
                Some(Place::Call(index + 1))
            }
            (Place::Closing, Record::Phase(Phase::Close, None)) => self.enter(Phase::Close, None, Place::Closed),
            (Place::Closed, Record::NotClosed(message)) => {
                self.not_closed = Some(message);
                Some(Place::Finishing)
            }
            (Place::Finishing, Record::Done) => Some(Place::Done),
            (Place::Done, Record::Phase(Phase::Exit, None)) => self.enter(Phase::Exit, None, Place::Over),
            _ => None,
        }
    }

    /// Leaves places where there is nothing to tell.
    fn settle(&self, place: Place, record: &Record, contract: &Contract, symbols: &[&OsString]) -> Place {
        let mut place = place;
        loop {
            place = match place {
                Place::OpenedBefore(index) if !matches!(record, Record::NotLoadable(_)) => Place::Before(index + 1),
                Place::Opened if !matches!(record, Record::NotLoadable(_)) => Place::Symbol(0),
                Place::LookedUp(index) if !matches!(record, Record::Missing(..)) => Place::Symbol(index + 1),
                Place::Symbol(index) if index == symbols.len() && self.missing.is_empty() => Place::Call(0),
                Place::Symbol(index) if index == symbols.len() => Place::Closing,
                Place::Call(index) if index == contract.calls.len() => Place::Closing,
                Place::Closing if contract.keep_open => Place::Finishing,
                Place::Closed if !matches!(record, Record::NotClosed(_)) => Place::Finishing,
                settled => return settled,
            };
        }
    }

    fn enter(&mut self, phase: Phase, symbol: Option<String>, place: Place) -> Option<Place> {
        (self.phase, self.symbol) = (Some(phase), symbol);
        Some(place)
    }
}

/// Names are told as text.
fn is(symbol: &OsStr, name: &str) -> bool {
    symbol.to_string_lossy() == Cow::Borrowed(name)
}

/// Whether a call of the loader can come back like this.
fn answers(returned: &Returned, call: &Call) -> bool {
    let is_shaped = match (call.returns, &returned.value, &returned.problem) {
        (Returns::String, Some(Value::String(bytes)), None) => std::str::from_utf8(bytes).is_ok(),
        (Returns::String, Some(Value::String(bytes)), Some(_)) => std::str::from_utf8(bytes).is_err(),
        (Returns::Integer, Some(Value::Integer(_)), None) => true,
        (Returns::Int32, Some(Value::Integer(number)), None) => i32::try_from(*number).is_ok(),
        (Returns::None, None, None) | (_, None, Some(_)) => true,
        _ => false,
    };
    is_shaped && returned.returns == call.returns && is(&call.symbol, &returned.symbol)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn phase(phase: Phase, symbol: &str) -> Record {
        Record::Phase(phase, (!symbol.is_empty()).then(|| symbol.to_owned()))
    }

    fn returned(symbol: &str, returns: Returns, value: Option<Value>, problem: Option<&str>) -> Record {
        Record::Returned(Returned {
            symbol: symbol.into(),
            returns,
            value,
            problem: problem.map(str::to_owned),
        })
    }

    fn contract() -> Contract {
        let call = |symbol: &str, returns| Call {
            symbol: symbol.into(),
            arguments: Vec::new(),
            returns,
        };
        Contract {
            before: vec!["/d.so".into(), "./e.so".into()],
            symbols: vec!["a".into(), "b".into(), "a".into()],
            calls: vec![call("b", Returns::None), call("c", Returns::Integer)],
            ..Contract::default()
        }
    }

    /// All that the loader tells of a plugin that keeps the contract.
    fn whole() -> Vec<Record> {
        vec![
            phase(Phase::Before, "/d.so"),
            phase(Phase::Before, "./e.so"),
            phase(Phase::Open, ""),
            phase(Phase::Symbol, "a"),
            phase(Phase::Symbol, "b"),
            phase(Phase::Symbol, "c"),
            phase(Phase::Call, "b"),
            returned("b", Returns::None, None, None),
            phase(Phase::Call, "c"),
            returned("c", Returns::Integer, Some(Value::Integer(7)), None),
            phase(Phase::Close, ""),
            Record::Done,
            phase(Phase::Exit, ""),
        ]
    }

    fn hear(records: &[Record]) -> Testimony {
        Testimony::hear(records.to_vec(), true, &contract())
    }

    #[test]
    fn what_the_loader_tells_is_believed() {
        let refused = |opened: usize| {
            let mut records = whole();
            records.truncate(opened);
            records.extend([Record::NotLoadable("no".into()), Record::Done, phase(Phase::Exit, "")]);
            records
        };
        for (opened, before) in [(1, Some("/d.so")), (2, Some("./e.so")), (3, None)] {
            let refusal = hear(&refused(opened)).refusal.map(|refusal| refusal.before);
            assert_eq!(refusal, Some(before.map(str::to_owned)));
        }
        let mut missing = whole();
        missing.splice(6..10, []);
        missing.insert(4, Record::Missing("a".into(), "no a".into()));
        missing.insert(7, Record::Missing("c".into(), "no c".into()));
        let mut not_closed = whole();
        not_closed.insert(11, Record::NotClosed("busy".into()));
        let mut problem = whole();
        problem[9] = returned(
            "c",
            Returns::Integer,
            None,
            Some("the symbol is there, but its address is null"),
        );
        for records in [
            whole(),
            refused(1),
            refused(2),
            refused(3),
            missing,
            not_closed,
            problem,
        ] {
            let testimony = hear(&records);
            assert!(testimony.is_whole && !testimony.is_broken, "{records:?}: {testimony:?}");
        }
        let kept = Contract {
            keep_open: true,
            ..contract()
        };
        let mut records = whole();
        records.remove(10);
        assert!(Testimony::hear(records, true, &kept).is_whole);
    }

    #[test]
    fn a_part_is_not_the_whole() {
        let records = whole();
        for length in 0..records.len() {
            let testimony = hear(&records[..length]);
            assert!(!testimony.is_whole && !testimony.is_broken, "{length}: {testimony:?}");
        }
    }

    #[test]
    fn another_order_and_what_is_left_out_is_not_believed() {
        let records = whole();
        for first in 0..records.len() {
            let mut shorter = records.clone();
            shorter.remove(first);
            let testimony = hear(&shorter);
            assert!(!testimony.is_whole, "without {first}: {testimony:?}");
            let mut doubled = records.clone();
            doubled.insert(first, records[first].clone());
            assert!(hear(&doubled).is_broken, "{first} twice");
            for second in first + 1..records.len() {
                let mut exchanged = records.clone();
                exchanged.swap(first, second);
                assert!(hear(&exchanged).is_broken, "{first} and {second} exchanged");
            }
        }
        assert!(hear(&[Record::Done]).is_broken);
        assert!(!Testimony::hear(records, false, &contract()).is_whole, "more follows");
    }

    #[test]
    fn a_call_comes_back_as_it_is_read() {
        let mut records = whole();
        for wrong in [
            returned("b", Returns::Integer, Some(Value::Integer(7)), None),
            returned("c", Returns::String, Some(Value::String(b"7".to_vec())), None),
            returned("c", Returns::Integer, Some(Value::String(b"7".to_vec())), None),
            returned("c", Returns::Integer, None, None),
            returned("c", Returns::Integer, Some(Value::Integer(7)), Some("seven")),
            Record::Missing("c".into(), "no".into()),
            Record::NotLoadable("no".into()),
        ] {
            records[9] = wrong.clone();
            assert!(hear(&records).is_broken, "{wrong:?}");
        }
    }
}
