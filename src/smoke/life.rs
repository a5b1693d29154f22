//! The life of a host, step by step, as the smoke loader tells it: in one order only.

use super::observation::{Ended, Event, EventError, HostObservation, HostReport, Place, read};
use crate::config::{Question, Step};

/// What begins the failure of a host that was not started.
const NOT_STARTED: &str = "not started: ";

/// What may come next of the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Life {
    /// Nothing of this step was told.
    Unannounced,
    Unborn,
    Started,
    /// Ready, and asked this often.
    Ready(usize),
    NotReady,
    Over,
}

/// The events of `steps`: of each in their order that it is begun, that it is started, how it became ready and answered, if it
/// is a server, and how it ended, up to one that is not what the next needs; then an end, and nothing more. Those of a loader
/// that did not come to its end may stop anywhere.
///
/// # Errors
/// [`EventError`].
pub fn host_report(lines: &[String], steps: &[Step], is_cut: bool) -> Result<HostReport, EventError> {
    let (mut host, mut earlier) = (HostObservation::default(), Vec::new());
    let (mut life, mut place) = (Life::Unannounced, Place::NotBegun);
    for event in read(lines, is_cut)? {
        if place == Place::Ended {
            return Err(event.out_of_place("nothing"));
        }
        if let Some(error) = event.surrender() {
            return Err(error);
        }
        let number = earlier.len();
        let goes_on = has_next(steps, number, &host);
        life = match (life, event) {
            (Life::Unannounced, Event::Step { index: 0 }) if !steps.is_empty() => Life::Unborn,
            (Life::Over, Event::Step { index }) if goes_on && index == number + 1 => {
                earlier.push(std::mem::take(&mut host));
                Life::Unborn
            }
            (Life::Over, Event::End {}) if !goes_on => {
                place = Place::Ended;
                Life::Over
            }
            (Life::Unborn, Event::Starting {}) => {
                place = Place::AtWork;
                Life::Started
            }
            (life, event) => live(life, event, &mut host, questions_of(steps, number))
                .map_err(|event| event.out_of_place(what_comes_next(life, steps, number, &host)))?,
        };
    }
    host.earlier = earlier;
    Ok(HostReport { host, place })
}

/// What one event means to a step that was started; the event, if it cannot come here.
fn live(life: Life, event: Event, host: &mut HostObservation, questions: Option<&[Question]>) -> Result<Life, Event> {
    let next = |asked: usize| questions.and_then(|questions| questions.get(asked));
    let is_request = |asked| matches!(next(asked), Some(Question::Request(_)));
    let is_client = |asked| matches!(next(asked), Some(Question::Client(_)));
    Ok(match (life, event) {
        (Life::Started, Event::NotStarted { message }) => {
            host.failure = Some(format!("{NOT_STARTED}{message}"));
            Life::Over
        }
        (Life::Started, Event::Ready {}) if questions.is_some() => {
            host.ready = true;
            Life::Ready(0)
        }
        (Life::Started, Event::NotReady { reason, message }) if questions.is_some() => {
            let why = if reason == "exited" {
                "it ended before it was ready"
            } else {
                "it was not ready in time"
            };
            host.failure = Some(message.map_or_else(|| why.to_owned(), |message| format!("{why}: {message}")));
            Life::NotReady
        }
        (Life::Ready(asked), Event::Response(response)) if response.index == asked && is_request(asked) => {
            host.responses.push(*response);
            Life::Ready(asked + 1)
        }
        (Life::Ready(asked), Event::RequestFailed(request)) if request.index == asked && is_request(asked) => {
            host.failed_requests.push(request);
            Life::Ready(asked + 1)
        }
        (Life::Ready(asked), Event::Client(client)) if client.index == asked && is_client(asked) => {
            host.clients.push((*client).into());
            Life::Ready(asked + 1)
        }
        (Life::Ready(asked), Event::ClientFailed(client)) if client.index == asked && is_client(asked) => {
            host.failed_requests.push(client);
            Life::Ready(asked + 1)
        }
        (life, Event::Exit(ended)) if may_exit(life, questions) => {
            host.ended = Some(*ended);
            Life::Over
        }
        (_, event) => return Err(event),
    })
}

fn questions_of(steps: &[Step], number: usize) -> Option<&[Question]> {
    steps.get(number).and_then(|step| step.kind.questions())
}

/// Whether the loader begins another step: there is one, and this one ended as it must.
fn has_next(steps: &[Step], number: usize, host: &HostObservation) -> bool {
    let status = steps.get(number).map(|step| i64::from(step.kind.status()));
    let is_as_needed = |ended: &Ended| !ended.was_killed() && ended.signal_name.is_none() && ended.status == status;
    number + 1 < steps.len() && host.failure.is_none() && host.ended.as_ref().is_some_and(is_as_needed)
}

fn may_exit(life: Life, questions: Option<&[Question]>) -> bool {
    match life {
        Life::Started => questions.is_none(),
        Life::Ready(asked) => questions.is_some_and(|questions| asked == questions.len()),
        Life::NotReady => true,
        Life::Unannounced | Life::Unborn | Life::Over => false,
    }
}

fn what_comes_next(life: Life, steps: &[Step], number: usize, host: &HostObservation) -> String {
    let questions = questions_of(steps, number);
    match (life, questions) {
        (Life::Unannounced, _) => "`step` 0".to_owned(),
        (Life::Unborn, _) => "`starting`".to_owned(),
        (Life::Started, None) => "`not-started` or `exit`".to_owned(),
        (Life::Started, Some(_)) => "`not-started`, `ready` or `not-ready`".to_owned(),
        (Life::Ready(asked), _) => match questions.and_then(|questions| questions.get(asked)) {
            Some(Question::Request(_)) => format!("`response` or `request-failed` {asked}"),
            Some(Question::Client(_)) => format!("`client` or `client-failed` {asked}"),
            None => "`exit`".to_owned(),
        },
        (Life::NotReady, _) => "`exit`".to_owned(),
        (Life::Over, _) if has_next(steps, number, host) => format!("`step` {}", number + 1),
        (Life::Over, _) => "`end`".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use super::*;
    use crate::config::{Client, Expectation, Invocation, Ready, Request, ResponseExpectation, Server, StepKind, Stop};
    use crate::smoke::Text;

    const NOTHING: &str = r#"{"text":"","tail":null,"bytes":0,"truncated":false,"lossy":false}"#;
    const END: &str = r#"{"schema":1,"event":"end"}"#;
    const STEP: &str = r#"{"schema":1,"event":"step","index":0}"#;
    const SECOND: &str = r#"{"schema":1,"event":"step","index":1}"#;
    const CLIENT: &str = r#"{"schema":1,"event":"client","index":0,"status":3,"signal":null,"signal_name":null,"stopped_by":"itself","elapsed_ms":1,"stdout":NOTHING,"stderr":NOTHING}"#;
    const CLIENT_FAILED: &str = r#"{"schema":1,"event":"client-failed","index":1,"message":"no"}"#;
    const STARTING: &str = r#"{"schema":1,"event":"starting"}"#;
    const READY: &str = r#"{"schema":1,"event":"ready","attempts":1,"elapsed_ms":1}"#;
    const NOT_READY: &str = r#"{"schema":1,"event":"not-ready","reason":"exited","message":null,"elapsed_ms":1}"#;
    const NOT_STARTED: &str = r#"{"schema":1,"event":"not-started","message":"no"}"#;
    const RESPONSE: &str = r#"{"schema":1,"event":"response","index":0,"method":"GET","url":"http://x/","elapsed_ms":1,"status":200,"headers":{"a":["1"]},"body":{"text":"hi","tail":null,"bytes":2,"truncated":false,"lossy":false}}"#;
    const FAILED: &str = r#"{"schema":1,"event":"request-failed","index":1,"method":"GET","url":"http://x/","elapsed_ms":1,"message":"no"}"#;
    const EXIT: &str = r#"{"schema":1,"event":"exit","status":0,"signal":null,"signal_name":null,"stopped_by":"stop-signal","leftover_processes":0,"elapsed_ms":12,"stdout":NOTHING,"stderr":NOTHING}"#;

    const BAD_EXIT: &str = r#"{"schema":1,"event":"exit","status":1,"signal":null,"signal_name":null,"stopped_by":"itself","leftover_processes":0,"elapsed_ms":12,"stdout":NOTHING,"stderr":NOTHING}"#;

    fn lines(lines: &[&str]) -> Vec<String> {
        lines.iter().map(|line| line.replace("NOTHING", NOTHING)).collect()
    }

    fn invocation() -> Invocation {
        Invocation {
            command: vec!["host".to_owned()],
            env: BTreeMap::new(),
            user: None,
            cwd: None,
            stdin: None,
            timeout: Duration::from_secs(1),
        }
    }

    fn request() -> Question {
        Question::Request(Request {
            method: "GET".to_owned(),
            url: "http://x/".to_owned(),
            headers: BTreeMap::new(),
            body: None,
            expect: ResponseExpectation::default(),
        })
    }

    fn client() -> Question {
        Question::Client(Client {
            invocation: invocation(),
            expect: Expectation::default(),
        })
    }

    fn step(kind: StepKind) -> Step {
        Step {
            invocation: invocation(),
            writable: vec![],
            exec: false,
            kind,
        }
    }

    fn server(requests: Vec<Question>) -> Step {
        let stop = Stop {
            signal: "TERM".to_owned(),
            status: 0,
        };
        step(StepKind::Server(Server {
            ready: Ready::Tcp(1),
            requests,
            stop,
        }))
    }

    fn command() -> Step {
        step(StepKind::Command(Expectation::default()))
    }

    /// Where the loader is after these events of `steps`, behind that of the first step.
    fn place(told: &[&str], steps: &[Step]) -> Result<Place, EventError> {
        host_report(&lines(&[&[STEP], told].concat()), steps, false).map(|report| report.place)
    }

    #[test]
    fn a_hosts_life_is_read_whole() {
        let told = lines(&[STEP, STARTING, READY, RESPONSE, FAILED, EXIT, END]);
        let report = host_report(&told, &[server(vec![request(), request()])], false).unwrap();
        let host = report.host;
        assert!(host.ready && host.failure.is_none() && report.place == Place::Ended);
        assert_eq!(host.responses[0].body, Text::from("hi"));
        assert_eq!(host.failed_requests[0].index, 1);
        assert_eq!(host.ended.unwrap().status, Some(0));
        for (told, step) in [
            ([STARTING, EXIT, END].as_slice(), command()),
            (&[STARTING, EXIT, END], step(StepKind::Setup)),
            (&[STARTING, NOT_STARTED, END], command()),
            (&[STARTING, NOT_STARTED, END], server(vec![request()])),
            (&[STARTING, NOT_READY, EXIT, END], server(vec![request()])),
            (&[STARTING, READY, EXIT, END], server(vec![])),
        ] {
            assert_eq!(place(told, &[step]), Ok(Place::Ended), "{told:?}");
        }
    }

    #[test]
    fn a_host_lives_once_and_in_this_order() {
        let told = lines(&[STEP, STARTING, READY, RESPONSE, FAILED, EXIT, END]);
        let steps = [server(vec![request(), request()])];
        let read = |lines: &[String]| host_report(lines, &steps, false).map(|report| report.place);
        for first in 0..told.len() {
            let mut doubled = told.clone();
            doubled.insert(first, told[first].clone());
            assert!(read(&doubled).is_err(), "{first} twice");
            for second in first + 1..told.len() {
                let mut exchanged = told.clone();
                exchanged.swap(first, second);
                assert!(read(&exchanged).is_err(), "{first} and {second} exchanged");
            }
            let place = host_report(&told[..first], &steps, true).map(|report| report.place);
            let expect = if first < 2 { Place::NotBegun } else { Place::AtWork };
            assert_eq!(place, Ok(expect), "{first} lines");
        }
        for (told, step) in [
            ([STARTING, READY, EXIT, END].as_slice(), command()),
            (&[STARTING, EXIT, END], server(vec![request()])),
            (&[STARTING, READY, EXIT, END], server(vec![request()])),
            (&[STARTING, READY, RESPONSE, EXIT, END], server(vec![])),
            (&[STARTING, NOT_STARTED, EXIT, END], command()),
            (&[STARTING, END], command()),
            (&[STARTING, EXIT, SECOND], command()),
        ] {
            assert!(place(told, &[step]).is_err(), "{told:?}");
        }
    }

    #[test]
    fn clients_are_told_where_they_were_asked() {
        let asked = || server(vec![client(), client()]);
        let told = lines(&[STEP, STARTING, READY, CLIENT, CLIENT_FAILED, EXIT, END]);
        let host = host_report(&told, &[asked()], false).unwrap().host;
        assert_eq!((host.clients[0].index, host.clients[0].ended.status), (0, Some(3)));
        assert_eq!(host.failed_requests[0].message, "no");
        for told in [
            [STARTING, READY, RESPONSE, CLIENT_FAILED, EXIT, END],
            [STARTING, READY, CLIENT, FAILED, EXIT, END],
            [STARTING, READY, CLIENT_FAILED, CLIENT, EXIT, END],
        ] {
            assert!(place(&told, &[asked()]).is_err(), "{told:?}");
        }
        assert!(
            place(
                &[STARTING, READY, CLIENT, CLIENT_FAILED, EXIT, END],
                &[server(vec![request(), request()])]
            )
            .is_err()
        );
    }

    #[test]
    fn a_step_follows_one_that_ended_as_it_must() {
        let steps = [step(StepKind::Setup), server(vec![])];
        let told = lines(&[STEP, STARTING, EXIT, SECOND, STARTING, READY, EXIT, END]);
        let report = host_report(&told, &steps, false).unwrap();
        assert_eq!(report.place, Place::Ended);
        assert_eq!(
            (
                report.host.earlier.len(),
                report.host.ready,
                report.host.earlier[0].ready
            ),
            (1, true, false)
        );
        for length in 0..told.len() {
            let place = host_report(&told[..length], &steps, true).map(|report| report.place);
            let expect = if length < 2 { Place::NotBegun } else { Place::AtWork };
            assert_eq!(place, Ok(expect), "{length} lines");
        }
        for (told, is_right) in [
            ([STARTING, BAD_EXIT, END].as_slice(), true),
            (&[STARTING, NOT_STARTED, END], true),
            (&[STARTING, EXIT, END], false),
            (&[STARTING, EXIT, STEP], false),
            (&[STARTING, EXIT, STARTING], false),
            (&[STARTING, BAD_EXIT, SECOND], false),
            (&[STARTING, NOT_STARTED, SECOND], false),
            (&[STARTING, EXIT, SECOND, STARTING, EXIT, END], false),
        ] {
            assert_eq!(place(told, &steps).is_ok(), is_right, "{told:?}");
        }
    }
}
