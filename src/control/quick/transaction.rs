//! Doing steps so that all of them are done or none, whatever fails and whoever is killed.
//!
//! ```text
//!   for each step:  write it to the state file -> do it
//!   one fails:      for each before it, last first:  undo it -> take it from the state file
//! ```
//!
//! Not here: how a step is done (see `machine`).

use super::error::QuickError;
use super::state::{State, StateFile};
use super::step::Step;

/// Who does steps.
pub trait Actor {
    /// Does a step, whole or not at all.
    ///
    /// # Errors
    /// Why not, in words.
    fn apply(&mut self, step: &Step) -> Result<(), String>;

    /// Undoes a step; what is not there, or is somebody else's by now, is left as it is.
    ///
    /// # Errors
    /// Why not, in words.
    fn undo(&mut self, step: &Step) -> Result<(), String>;

    /// Returns the index of the interface, once it is there.
    fn link(&self) -> Option<u32>;

    /// Tells that a step is about to be done.
    fn tell(&mut self, step: &Step);

    /// Tells that a step is about to be undone.
    fn tell_undo(&mut self, step: &Step);

    /// Tells what went wrong on the way.
    fn warn(&mut self, message: &str);

    /// Returns whether a signal asks for an end.
    fn is_interrupted(&mut self) -> bool {
        false
    }
}

/// Does the steps in their order, after those that `state` has already.
///
/// # Errors
/// [`QuickError::Undone`] with the first one that failed: then it and all others are undone, those of `state` too.
pub fn up(steps: &[Step], state: &mut State, file: &StateFile, actor: &mut impl Actor) -> Result<(), QuickError> {
    for step in steps {
        let outcome = if actor.is_interrupted() { Err(None) } else { apply(step, state, file, actor).map_err(Some) };
        let Err(why) = outcome else { continue };
        let left = undo_all(state, file, actor);
        let interface = file.interface().to_owned();
        return Err(match why {
            None if left == 0 => QuickError::Interrupted { interface },
            None => QuickError::Left { interface, left },
            Some(why) if left == 0 => QuickError::Undone { interface, step: step.to_string(), why },
            Some(why) => QuickError::NotUndone { interface, step: step.to_string(), why },
        });
    }
    // Whoever sent a signal during the last step wants the tunnel no more than any other.
    if !actor.is_interrupted() {
        return Ok(());
    }
    let interface = file.interface().to_owned();
    Err(match undo_all(state, file, actor) {
        0 => QuickError::Interrupted { interface },
        left => QuickError::Left { interface, left },
    })
}

/// Does one step. If that fails, `state` is as before.
pub fn apply(step: &Step, state: &mut State, file: &StateFile, actor: &mut impl Actor) -> Result<(), String> {
    actor.tell(step);
    state.steps.push(step.clone());
    let outcome = match file.write(state) {
        Ok(()) => actor.apply(step),
        Err(error) => Err(error.to_string()),
    };
    if outcome.is_err() {
        state.steps.pop();
        // If this fails too, undoing what was not done does no harm.
        let _ = file.write(state);
        return outcome;
    }
    if state.link != actor.link() {
        state.link = actor.link();
        file.write(state).map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// Undoes all steps of `state`, the last one first. Returns how many could not be undone; they stay in the state file,
/// which is removed if there is none.
pub fn undo_all(state: &mut State, file: &StateFile, actor: &mut impl Actor) -> usize {
    let has_link = state.steps.contains(&Step::Link);
    let mut left = Vec::new();
    while let Some(step) = state.steps.last().cloned() {
        // The interface takes along what is its own.
        if step.is_undone() && !(has_link && step.goes_with_link()) {
            actor.tell_undo(&step);
            if let Err(why) = actor.undo(&step) {
                actor.warn(&format!("{step}: cannot be undone: {why}"));
                left.insert(0, step);
            }
        }
        state.steps.pop();
        let mut remaining = state.clone();
        remaining.steps.extend_from_slice(&left);
        // Without it, `down` undoes a step twice, which does no harm.
        let _ = file.write(&remaining);
    }
    state.steps = left;
    if state.steps.is_empty()
        && let Err(error) = file.remove()
    {
        actor.warn(&error.to_string());
    }
    state.steps.len()
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    /// Does nothing, and fails where it is told to.
    #[derive(Default)]
    struct Fake {
        log: Vec<String>,
        fails: Option<Step>,
        fails_to_undo: Option<Step>,
        interrupted_after: Option<usize>,
    }

    impl Actor for Fake {
        fn apply(&mut self, step: &Step) -> Result<(), String> {
            if self.fails.as_ref() == Some(step) { Err("no".to_owned()) } else { Ok(()) }
        }

        fn undo(&mut self, step: &Step) -> Result<(), String> {
            if self.fails_to_undo.as_ref() == Some(step) { Err("no".to_owned()) } else { Ok(()) }
        }

        fn link(&self) -> Option<u32> {
            Some(7)
        }

        fn tell(&mut self, step: &Step) {
            self.log.push(format!("+ {step}"));
        }

        fn tell_undo(&mut self, step: &Step) {
            self.log.push(format!("- {step}"));
        }

        fn warn(&mut self, _: &str) {}

        fn is_interrupted(&mut self) -> bool {
            self.interrupted_after.is_some_and(|after| self.log.len() >= after)
        }
    }

    fn empty() -> State {
        let (pre_down, post_down) = (Vec::new(), Vec::new());
        State {
            file: "wg0.conf".into(),
            namespace: None,
            kill_switch: false,
            link: None,
            facts: None,
            steps: Vec::new(),
            pre_down,
            post_down,
        }
    }

    fn steps() -> [Step; 5] {
        let network = crate::platform::linux::network::Prefix { address: [10, 0, 0, 0].into(), len: 8 };
        let route = Step::Route { network, table: 254 };
        [Step::SourceValidMark, Step::Link, Step::Address(network), route, Step::Hook("true".to_owned())]
    }

    fn file(directory: &TempDir) -> StateFile {
        StateFile::lock(directory.path(), "wg0").expect("free")
    }

    #[test]
    fn a_step_is_in_the_file_before_it_is_done() {
        struct Looks<'a>(&'a StateFile);
        impl Actor for Looks<'_> {
            fn apply(&mut self, step: &Step) -> Result<(), String> {
                let written = self.0.read().expect("readable").expect("written").steps;
                if written.last() == Some(step) { Ok(()) } else { Err(format!("{written:?}")) }
            }

            fn undo(&mut self, step: &Step) -> Result<(), String> {
                self.apply(step)
            }

            fn link(&self) -> Option<u32> {
                None
            }

            fn tell(&mut self, _: &Step) {}

            fn tell_undo(&mut self, _: &Step) {}

            fn warn(&mut self, message: &str) {
                panic!("{message}");
            }
        }
        let directory = TempDir::new().expect("a directory");
        let (file, mut state) = (file(&directory), empty());
        up(&steps(), &mut state, &file, &mut Looks(&file)).expect("each is written");
        assert_eq!(undo_all(&mut state, &file, &mut Looks(&file)), 0);
        assert_eq!(file.read().expect("readable"), None);
    }

    #[test]
    fn a_failure_undoes_all_before_it_in_the_other_direction() {
        let directory = TempDir::new().expect("a directory");
        let (file, mut state) = (file(&directory), empty());
        let mut actor = Fake { fails: Some(steps()[3].clone()), ..Fake::default() };
        let error = up(&steps(), &mut state, &file, &mut actor).expect_err("a step fails").to_string();
        assert_eq!(error, "wg0: route 10.0.0.0/8: no; all that was done before is undone");
        let mark = "sysctl net.ipv4.conf.all.src_valid_mark=1";
        let expected = [
            format!("+ {mark}"),
            "+ interface".to_owned(),
            "+ address 10.0.0.0/8".to_owned(),
            "+ route 10.0.0.0/8".to_owned(),
            "- interface".to_owned(),
            format!("- {mark}"),
        ];
        assert_eq!(actor.log, expected);
        assert_eq!(file.read().expect("readable"), None);
    }

    #[test]
    fn what_cannot_be_undone_stays_in_the_file() {
        let directory = TempDir::new().expect("a directory");
        let (file, mut state) = (file(&directory), empty());
        let mut actor = Fake { fails_to_undo: Some(Step::SourceValidMark), ..Fake::default() };
        up(&steps(), &mut state, &file, &mut actor).expect("nothing fails");
        assert_eq!(undo_all(&mut state, &file, &mut actor), 1);
        assert_eq!(file.read().expect("readable").expect("still there").steps, [Step::SourceValidMark]);
        assert_eq!(undo_all(&mut state, &file, &mut Fake::default()), 0);
    }

    #[test]
    fn a_signal_undoes_what_was_done() {
        let directory = TempDir::new().expect("a directory");
        let (file, mut state) = (file(&directory), empty());
        let mut actor = Fake { interrupted_after: Some(2), ..Fake::default() };
        let error = up(&steps(), &mut state, &file, &mut actor).expect_err("interrupted");
        assert!(matches!(error, QuickError::Interrupted { .. }));
        assert_eq!(actor.log.len(), 4);
        // Of the five, one is a command, and two go with the interface.
        let mut actor = Fake { interrupted_after: Some(5), ..Fake::default() };
        let error = up(&steps(), &mut state, &file, &mut actor).expect_err("interrupted during the last step");
        assert!(matches!(error, QuickError::Interrupted { .. }));
        assert_eq!(actor.log.len(), 7);
        assert_eq!(file.read().expect("readable"), None);
    }
}
