//! `eks-sim exercise`: what-if questions, answered by the simulation.

use crate::args::{ExerciseAction, ExerciseArgs};
use crate::output::{self, MISSED, WRONG_INPUT};
use eks_sim::study::exercise::{self, Exercise, ExerciseError};
use std::process::ExitCode;

/// Runs the command.
pub fn run(args: &ExerciseArgs) -> ExitCode {
    execute(args).unwrap_or_else(|code| code)
}

fn execute(args: &ExerciseArgs) -> Result<ExitCode, ExitCode> {
    match &args.action {
        ExerciseAction::List => {
            let all = exercise::exercises().map_err(|e| refused(&e))?;
            output::print(&list(&all))?;
            Ok(ExitCode::SUCCESS)
        }
        ExerciseAction::Show { id } => {
            let one = exercise::find(id).map_err(|e| refused(&e))?;
            output::print(&show(&one))?;
            Ok(ExitCode::SUCCESS)
        }
        ExerciseAction::Answer { id, answer } => {
            let one = exercise::find(id).map_err(|e| refused(&e))?;
            let grade = one.grade(answer).map_err(|e| refused(&e))?;
            let verdict = if grade.correct { "Right" } else { "Not quite" };
            let text = format!(
                "{verdict}: you said {}, the simulation says {}.\n\n{}\n",
                answer.trim(),
                grade.key,
                grade.explanation.trim()
            );
            output::print(&text)?;
            Ok(if grade.correct { ExitCode::SUCCESS } else { ExitCode::from(MISSED) })
        }
    }
}

fn refused(error: &ExerciseError) -> ExitCode {
    output::fail(WRONG_INPUT, &error.to_string())
}

fn list(all: &[Exercise]) -> String {
    let width = all.iter().map(|e| e.spec.id.len()).max().unwrap_or(0);
    let mut text: String =
        all.iter().map(|e| format!("{:width$}  {}\n", e.spec.id, e.spec.title)).collect();
    text.push_str("\nread one with `eks-sim exercise show ID`\n");
    text
}

fn show(one: &Exercise) -> String {
    let mut text = format!("{}\n\n{}\n", one.spec.title, one.spec.question.trim());
    for choice in &one.spec.choices {
        text.push_str(&format!("  {})  {}\n", choice.id, choice.text.trim()));
    }
    let id = &one.spec.id;
    text.push_str(&format!(
        "\nPredict first, then answer with {}, for example\n  eks-sim exercise answer {id} {}\n",
        one.wanted(),
        one.spec.example
    ));
    text.push_str("\nThe scenario:\n\n");
    for line in one.scenario.lines() {
        text.push_str(&format!("    {line}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_exercise_is_listed_and_shown() {
        let all = exercise::exercises().unwrap();
        assert!(all.len() >= 5);
        let listed = list(&all);
        for one in &all {
            assert!(listed.contains(&one.spec.id));
            assert!(show(one).contains("eks-sim exercise answer"));
        }
    }

    #[test]
    fn an_unknown_exercise_is_refused() {
        let action = ExerciseAction::Show { id: "quorm".to_owned() };
        assert_eq!(run(&ExerciseArgs { action }), ExitCode::from(WRONG_INPUT));
    }
}
