//! A thread that evaluates cases one after another, so that a panic or an endless loop in one
//! case is a failed case and not the end of the run.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use super::Refusal;

/// A case may take this long.
const TIME_OUT: Duration = Duration::from_secs(60);
/// Room for recursion over deep inputs.
const STACK_BYTES: usize = 64 << 20;

/// What became of one evaluation.
pub(super) enum Answer {
    /// The computed values, or why there are none.
    Done(Result<Value, Refusal>),
    /// The code panicked with this message.
    Panicked(String),
    /// The code did not return in time.
    TimedOut,
}

type Evaluate = fn(&Value, &Value) -> Result<Value, Refusal>;
type Question = (Arc<Value>, usize);
type Link = (Sender<Question>, Receiver<Answer>);

/// The worker and the ways to it; replaced when a case hangs.
pub(super) struct Worker {
    evaluate: Evaluate,
    link: Option<Link>,
}

impl Worker {
    pub(super) fn new(evaluate: Evaluate) -> Self {
        Self { evaluate, link: start(evaluate) }
    }

    /// Evaluates case `index` of `file`.
    pub(super) fn ask(&mut self, file: &Arc<Value>, index: usize) -> Answer {
        let Some((questions, answers)) = &self.link else {
            return answer(self.evaluate, file, index); // no threads on this platform
        };
        let received = match questions.send((Arc::clone(file), index)) {
            Ok(()) => answers.recv_timeout(TIME_OUT),
            Err(_) => Err(RecvTimeoutError::Disconnected),
        };
        received.unwrap_or_else(|error| {
            self.link = start(self.evaluate);
            match error {
                RecvTimeoutError::Timeout => Answer::TimedOut,
                RecvTimeoutError::Disconnected => Answer::Panicked("the thread died".to_owned()),
            }
        })
    }
}

fn start(evaluate: Evaluate) -> Option<Link> {
    let (question_in, questions) = channel::<Question>();
    let (answer_in, answers) = channel();
    let body = move || {
        for (file, index) in questions {
            if answer_in.send(answer(evaluate, &file, index)).is_err() {
                break;
            }
        }
    };
    thread::Builder::new()
        .name("conformance".to_owned())
        .stack_size(STACK_BYTES)
        .spawn(body)
        .ok()
        .map(|_| (question_in, answers))
}

fn answer(evaluate: Evaluate, file: &Value, index: usize) -> Answer {
    let case = file["cases"].get(index).unwrap_or(&Value::Null);
    match catch_unwind(AssertUnwindSafe(|| evaluate(file, case))) {
        Ok(result) => Answer::Done(result),
        Err(panic) => Answer::Panicked(
            panic
                .downcast_ref::<String>()
                .map(String::as_str)
                .or_else(|| panic.downcast_ref::<&str>().copied())
                .unwrap_or("a panic without text")
                .to_owned(),
        ),
    }
}
