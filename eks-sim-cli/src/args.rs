//! The arguments as the parser sees them; what they mean is in `settings`.

use crate::cmd::{catalog::CatalogArgs, conformance::ConformanceArgs};
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

const TOP_HELP: &str = "Examples:
  eks-sim init manifests/                       write a scenario beside your manifests
  eks-sim run manifests/eks-sim.yaml            simulate it
  eks-sim run scenario.yaml --precision 2%      until the intervals are that narrow
  eks-sim compare scenario.yaml --variants all  what each variant would change
  eks-sim explain scenario.yaml pod/cart-0      why that pod waited

Results go to standard output, progress and warnings to standard error.";

/// Show what an Amazon EKS cluster will do and cost, before it is built or changed.
#[derive(Debug, Parser)]
#[command(name = "eks-sim", version, about, after_help = TOP_HELP, max_term_width = 100)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub struct Cli {
    #[command(subcommand)]
    pub verb: Verb,
}

#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Simulate a scenario in many replications, print a summary, write the output folder
    Run(RunArgs),
    /// Run scenarios or variants with the same random numbers and show the differences
    Compare(CompareArgs),
    /// Check a scenario or manifests without running them
    Check(CheckArgs),
    /// Write a commented scenario for a folder of manifests
    Init(InitArgs),
    /// Tell what happened to one object in one replication, and why
    Explain(ExplainArgs),
    /// Tell how many nodes and pods the subnets hold, what binds first, and what helps
    Subnets(SubnetsArgs),
    Catalog(Box<CatalogArgs>),
    Conformance(ConformanceArgs),
    /// Learn by prediction: a question, your answer, what the simulation says
    Exercise(ExerciseArgs),
    /// Run a recorded run again and say whether every byte is the same
    Replay(ReplayArgs),
    /// Print the JSON Schema of scenario files
    Schema(SchemaArgs),
    /// Print the completion script of a shell
    Completions(CompletionsArgs),
    /// Print or write the manual pages
    Man(ManArgs),
}

/// Arguments of `exercise`.
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "Examples:\n  eks-sim exercise list\n  eks-sim exercise show max-pods\n  eks-sim exercise answer max-pods 29"
)]
pub struct ExerciseArgs {
    #[command(subcommand)]
    pub action: ExerciseAction,
}

/// What to do with exercises.
#[derive(Clone, Debug, Subcommand)]
pub enum ExerciseAction {
    /// All exercises, a line each
    List,
    /// The question and its scenario
    Show {
        /// Exercise, from `list`
        id: String,
    },
    /// Run the scenario and grade a prediction: exit code 0 if right, 1 if not
    Answer {
        /// Exercise, from `list`
        id: String,
        /// Your prediction
        #[arg(allow_hyphen_values = true)]
        answer: String,
    },
}

/// How results are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    #[default]
    Text,
    /// For programs
    Json,
    /// For review comments
    Markdown,
}

/// How progress is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ProgressMode {
    /// A line on a terminal, nothing elsewhere
    #[default]
    Auto,
    /// JSON lines on standard error
    Json,
    /// Nothing
    None,
}

/// What to simulate.
#[derive(Clone, Debug, Default, Args)]
pub struct ModelArgs {
    /// Override a field: a path relative to `spec` and a YAML value (repeatable)
    #[arg(long = "set", value_name = "PATH=VALUE", help_heading = "Scenario")]
    pub set: Vec<String>,
    /// Root of all random numbers instead of the scenario's
    #[arg(long, value_name = "N", help_heading = "Scenario")]
    pub seed: Option<u64>,
}

/// How many replications, and how.
#[derive(Clone, Debug, Default, Args)]
pub struct StudyArgs {
    /// Replications instead of the scenario's; with --precision, at most so many
    #[arg(long, short = 'n', value_name = "N", help_heading = "Study")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    pub replications: Option<u32>,
    /// Threads (default: one a core); they do not change the result
    #[arg(long, value_name = "N", help_heading = "Study")]
    #[arg(value_parser = clap::value_parser!(u16).range(1..))]
    pub threads: Option<u16>,
    /// How progress is shown on standard error
    #[arg(long, value_enum, value_name = "MODE", default_value_t, help_heading = "Output")]
    pub progress: ProgressMode,
    /// No progress: the same as `--progress none`
    #[arg(long, help_heading = "Output")]
    pub no_progress: bool,
    /// Neither progress nor warnings
    #[arg(long, short, help_heading = "Output")]
    pub quiet: bool,
}

/// Where the output folder goes.
#[derive(Clone, Debug, Default, Args)]
pub struct OutArgs {
    /// Output folder (default: eks-sim-out/NAME)
    #[arg(long, short, value_name = "DIR", help_heading = "Output")]
    pub out: Option<PathBuf>,
    /// Replace the output folder even if eks-sim did not write it
    #[arg(long, help_heading = "Output")]
    pub force: bool,
}

/// The replication with a full record, if any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Detail(pub Option<u32>);

impl Default for Detail {
    fn default() -> Self {
        Self(Some(0))
    }
}

impl std::str::FromStr for Detail {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "none" {
            return Ok(Self(None));
        }
        let number = text.parse().map_err(|_| "give the number of a replication, or `none`")?;
        Ok(Self(Some(number)))
    }
}

#[derive(Clone, Debug, Default, Args)]
#[command(after_help = RUN_HELP)]
pub struct RunArgs {
    /// Scenario file, `-` for standard input
    #[arg(value_name = "SCENARIO")]
    pub scenario: PathBuf,
    /// Run a variant of the scenario
    #[arg(long, value_name = "NAME", help_heading = "Scenario")]
    pub variant: Option<String>,
    #[command(flatten)]
    pub model: ModelArgs,
    /// Run until cost and objectives are known that well, for example `2%`
    #[arg(long, value_name = "SHARE", help_heading = "Study")]
    pub precision: Option<String>,
    #[command(flatten)]
    pub study: StudyArgs,
    /// Replication whose events, pods and nodes are written, or `none`: they take memory by the pod
    #[arg(long, value_name = "R|none", default_value = "0", help_heading = "Output")]
    pub detail: Detail,
    /// How the summary is printed
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t, help_heading = "Output")]
    pub format: Format,
    #[command(flatten)]
    pub out: OutArgs,
    /// Write no output folder
    #[arg(long, conflicts_with_all = ["out", "force"], help_heading = "Output")]
    pub no_out: bool,
}

const RUN_HELP: &str = "Examples:
  eks-sim run scenarios/webshop/scenario.yaml
  eks-sim run scenario.yaml -n 500 --seed 7 --out /tmp/out
  eks-sim run scenario.yaml --set 'cluster.nodeGroups[base].maxSize=40' --format markdown
  eks-sim run scenario.yaml --variant prefix --precision 1% --quiet

Exit codes:
  0    done, all objectives met
  1    an objective is missed
  2    the input is wrong; nothing was written
  3    reading or writing failed, or a bound ended a replication early
  4    an objective is undecided: its interval straddles the bound
  5    no pod was ever scheduled: nothing was simulated
  130  interrupted; finished replications are kept";

#[derive(Clone, Debug, Default, Args)]
#[command(after_help = "Examples:
  eks-sim compare today.yaml karpenter.yaml
  eks-sim compare scenario.yaml --variants all --format markdown
  eks-sim compare scenario.yaml --variants prefix,graviton -n 100")]
pub struct CompareArgs {
    /// Scenario files; the first is what the others are compared with
    #[arg(value_name = "SCENARIO", required = true)]
    pub scenarios: Vec<PathBuf>,
    /// Variants of the scenarios too: `all`, or names
    #[arg(long, value_name = "all|A,B", value_delimiter = ',', help_heading = "Scenario")]
    pub variants: Vec<String>,
    #[command(flatten)]
    pub model: ModelArgs,
    #[command(flatten)]
    pub study: StudyArgs,
    /// How the comparison is printed
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t, help_heading = "Output")]
    pub format: Format,
    /// Also write the comparison to this folder
    #[arg(long, short, value_name = "DIR", help_heading = "Output")]
    pub out: Option<PathBuf>,
    /// Replace that folder even if eks-sim did not write it
    #[arg(long, help_heading = "Output")]
    pub force: bool,
}

#[derive(Clone, Debug, Default, Args)]
#[command(after_help = "Examples:
  eks-sim check scenario.yaml
  eks-sim check manifests/                      with the default cluster
  kubectl get deploy,sts,ds,hpa,pdb,svc -A -o json > dump.json && eks-sim check dump.json

Exits 2 if there are errors, 0 otherwise.")]
pub struct CheckArgs {
    /// Scenario files, manifest files or folders
    #[arg(value_name = "PATH", required = true)]
    pub paths: Vec<PathBuf>,
    /// Override a field of the scenarios (repeatable)
    #[arg(long = "set", value_name = "PATH=VALUE")]
    pub set: Vec<String>,
    /// Warnings count as errors
    #[arg(long)]
    pub strict: bool,
    /// How the findings are printed: text or json
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t)]
    pub format: Format,
    /// Print nothing; the exit code tells
    #[arg(long, short)]
    pub quiet: bool,
}

#[derive(Clone, Debug, Default, Args)]
#[command(after_help = "Examples:
  eks-sim init manifests/        writes manifests/eks-sim.yaml
  helm template shop ./chart | eks-sim init - > scenario.yaml")]
pub struct InitArgs {
    /// Folder or file with manifests, `-` for standard input
    #[arg(value_name = "DIR|-")]
    pub path: PathBuf,
    /// Write the scenario here instead, `-` for standard output
    #[arg(long, short, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Replace an existing file
    #[arg(long)]
    pub force: bool,
    /// AWS Region of the cluster
    #[arg(long, default_value = "us-east-1")]
    pub region: String,
}

#[derive(Clone, Debug, Default, Args)]
#[command(after_help = "Examples:
  eks-sim explain scenario.yaml pod/shop/cart-0
  eks-sim explain scenario.yaml node/ip-10-0-0-12 --detail 3
  eks-sim explain scenario.yaml hpa/shop/frontend --format json
  eks-sim explain metrics                       what every metric means")]
pub struct ExplainArgs {
    /// Scenario file; or `metrics` alone
    #[arg(value_name = "SCENARIO|metrics")]
    pub scenario: PathBuf,
    /// `pod/NAME`, `node/NAME`, `hpa/NAME` or `subnet/NAME`, with `NAMESPACE/` before the name
    /// where needed; the start of a name is enough
    #[arg(value_name = "KIND/NAME")]
    pub object: Option<String>,
    /// Explain a variant of the scenario
    #[arg(long, value_name = "NAME")]
    pub variant: Option<String>,
    #[command(flatten)]
    pub model: ModelArgs,
    /// Replication to look at
    #[arg(long, value_name = "R", default_value_t = 0)]
    pub detail: u32,
    /// How the story is printed: text or json
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t)]
    pub format: Format,
}

#[derive(Clone, Debug, Default, Args)]
#[command(after_help = "Examples:
  eks-sim subnets scenario.yaml
  eks-sim subnets scenario.yaml --set cluster.network.cni.WARM_IP_TARGET=2
  eks-sim subnets scenario.yaml --variant prefix --format markdown
  eks-sim subnets scenario.yaml --strict        exits 1 if some situation does not fit

Nothing is run: the pools and address spaces of the simulation are worked out at rest.")]
pub struct SubnetsArgs {
    /// Scenario file, `-` for standard input
    #[arg(value_name = "SCENARIO")]
    pub scenario: PathBuf,
    /// Look at a variant of the scenario
    #[arg(long, value_name = "NAME")]
    pub variant: Option<String>,
    #[command(flatten)]
    pub model: ModelArgs,
    /// Exit with 1 if some situation does not fit
    #[arg(long)]
    pub strict: bool,
    /// How the answer is printed
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t)]
    pub format: Format,
    /// No warnings
    #[arg(long, short)]
    pub quiet: bool,
}

#[derive(Clone, Debug, Default, Args)]
#[command(after_help = "Examples:
  eks-sim replay eks-sim-out/webshop/run.json
  eks-sim replay run.json --out /tmp/again

Without --out nothing is written; the files are made again in memory and compared.
Exits 1 if a byte differs.")]
pub struct ReplayArgs {
    /// `run.json` of an output folder
    #[arg(value_name = "RUN.JSON")]
    pub record: PathBuf,
    /// Threads (default: one a core)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub threads: Option<u16>,
    /// Write the folder again, here
    #[arg(long, short, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Replace that folder even if eks-sim did not write it
    #[arg(long)]
    pub force: bool,
    /// No progress
    #[arg(long, short)]
    pub quiet: bool,
}

#[derive(Clone, Debug, Default, Args)]
pub struct SchemaArgs {}

#[derive(Clone, Debug, Args)]
#[command(after_help = "Example:
  eks-sim completions bash > ~/.local/share/bash-completion/completions/eks-sim")]
pub struct CompletionsArgs {
    /// Shell
    pub shell: clap_complete::Shell,
}

#[derive(Clone, Debug, Default, Args)]
#[command(after_help = "Examples:
  eks-sim man | man -l -
  eks-sim man --out /usr/local/share/man/man1")]
pub struct ManArgs {
    /// Write one page a verb to this folder instead of printing the main page
    #[arg(long, short, value_name = "DIR")]
    pub out: Option<PathBuf>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn parse(line: &str) -> Result<Verb, clap::Error> {
        Cli::try_parse_from(line.split_whitespace()).map(|cli| cli.verb)
    }

    #[test]
    fn the_parser_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_detailed_record_can_be_left_out() {
        let Ok(Verb::Run(args)) = parse("eks-sim run s.yaml --detail none") else { panic!() };
        assert_eq!(args.detail, Detail(None));
        let Ok(Verb::Run(args)) = parse("eks-sim run s.yaml") else { panic!() };
        assert_eq!(args.detail, Detail(Some(0)));
        let wrong = parse("eks-sim run s.yaml --detail all").expect_err("no such replication");
        assert!(wrong.to_string().contains("or `none`"), "{wrong}");
    }

    #[test]
    fn run_takes_its_flags() {
        let line = "eks-sim run s.yaml --seed 7 -n 30 --precision 2% --threads 2 --out o \
                    --detail 3 --format json --quiet --set a=1 --set b=2 --force --variant v";
        let Ok(Verb::Run(args)) = parse(line) else { panic!("{line}") };
        assert_eq!(args.model.set, ["a=1", "b=2"]);
        assert_eq!(
            (args.model.seed, args.study.replications, args.detail),
            (Some(7), Some(30), Detail(Some(3)))
        );
        assert_eq!(args.format, Format::Json);
        assert!(args.study.quiet && args.out.force);
    }

    #[test]
    fn nonsense_is_refused() {
        for line in [
            "eks-sim",
            "eks-sim run",
            "eks-sim run s.yaml -n 0",
            "eks-sim run s.yaml --threads 0",
            "eks-sim run s.yaml --format xml",
            "eks-sim run s.yaml --no-out --out o",
            "eks-sim compare",
            "eks-sim frobnicate",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }

    #[test]
    fn help_has_examples_and_exit_codes() {
        let mut command = Cli::command();
        let top = command.render_long_help().to_string();
        for verb in ["run", "compare", "check", "init", "explain", "subnets", "catalog"] {
            assert!(top.contains(&format!("\n  {verb} ")), "{verb}\n{top}");
        }
        let run = command.find_subcommand_mut("run").unwrap().render_long_help().to_string();
        for words in ["Examples:", "Exit codes:", "130", "--precision", "eks-sim-out/NAME"] {
            assert!(run.contains(words), "{words}\n{run}");
        }
    }
}
