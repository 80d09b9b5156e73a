//! nodeadm's `maxPodsExpression`: a CEL expression over three integers.
//!
//! Upstream: awslabs/amazon-eks-ami 81fec2e8, nodeadm/internal/kubelet/eni_max_pods.go, on
//! cel-go. Differences: of CEL only integers and booleans with their operators and the
//! conditional are known; anything else is refused as a compile error.

/// Values of the variables of an expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Variables {
    /// `default_enis`: interfaces of the default network card.
    pub default_enis: i64,
    /// `ips_per_eni`: addresses of an interface.
    pub ips_per_eni: i64,
    /// `max_pods`: the standard value.
    pub max_pods: i64,
}

/// Why an expression gives no number of pods.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ExpressionError {
    /// It does not parse, names an unknown variable or mixes types.
    #[error("failed to compile at `{0}`; use default_enis, ips_per_eni, max_pods and integers")]
    Compile(String),
    /// Overflow or division by zero.
    #[error("failed to evaluate: {0}")]
    Evaluate(&'static str),
    /// The result is a boolean.
    #[error("the result is not an integer")]
    NotAnInteger,
    /// The result is not a possible number of pods.
    #[error("max pods {0} is not a positive 32-bit integer")]
    OutOfRange(i64),
}

/// The number of pods an expression gives.
///
/// # Errors
/// When it does not compile, does not evaluate, or the result is not a positive 32-bit integer.
pub fn evaluate(expression: &str, variables: Variables) -> Result<i64, ExpressionError> {
    let tokens = tokens(expression)?;
    let mut parser = Parser { tokens: &tokens, at: 0, depth: 0, variables };
    let (kind, value) = parser.conditional()?;
    if let Some(token) = parser.peek() {
        return Err(ExpressionError::Compile(token.to_string()));
    }
    let value = value?;
    match kind {
        Kind::Bool => Err(ExpressionError::NotAnInteger),
        Kind::Int if value <= 0 || value > i64::from(i32::MAX) => {
            Err(ExpressionError::OutOfRange(value))
        }
        Kind::Int => Ok(value),
    }
}

/// The number of pods nodeadm sets: the expression's, or the standard one without a usable one.
#[must_use]
pub fn with_fallback(expression: Option<&str>, default_enis: i64, ips_per_eni: i64) -> i64 {
    let slots = ips_per_eni.saturating_sub(1);
    let max_pods = default_enis.saturating_mul(slots).saturating_add(2);
    let variables = Variables { default_enis, ips_per_eni, max_pods };
    let usable = expression.filter(|text| !text.is_empty());
    usable.and_then(|text| evaluate(text, variables).ok()).unwrap_or(max_pods)
}

/// Nesting beyond this is refused.
const DEEPEST: u32 = 100;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Int,
    Bool,
}

/// A checked type and, apart from it, the value or the failure to compute it: a failure in the
/// branch not taken is no failure, a wrong type there is.
type Typed = (Kind, Result<i64, ExpressionError>);

const OPERATORS: [&str; 19] = [
    "&&", "||", "==", "!=", "<=", ">=", "<", ">", "+", "-", "*", "/", "%", "!", "?", ":", "(", ")",
    ",",
];

fn tokens(text: &str) -> Result<Vec<&str>, ExpressionError> {
    let mut out = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
        let length = if word(first) {
            rest.find(|c| !word(c)).unwrap_or(rest.len())
        } else {
            let operator = OPERATORS.iter().find(|operator| rest.starts_with(**operator));
            operator.ok_or_else(|| ExpressionError::Compile(first.to_string()))?.len()
        };
        let (token, tail) = rest.split_at(length);
        out.push(token);
        rest = tail.trim_start();
    }
    Ok(out)
}

struct Parser<'a> {
    tokens: &'a [&'a str],
    at: usize,
    depth: u32,
    variables: Variables,
}

impl<'a> Parser<'a> {
    fn peek(&self) -> Option<&'a str> {
        self.tokens.get(self.at).copied()
    }
    fn eat(&mut self, token: &str) -> bool {
        let found = self.peek() == Some(token);
        self.at += usize::from(found);
        found
    }
    fn any_of(&mut self, operators: &[&str]) -> Option<&'a str> {
        let token = self.peek().filter(|token| operators.contains(token))?;
        self.at += 1;
        Some(token)
    }
    fn wrong<T>(&self, near: Option<&str>) -> Result<T, ExpressionError> {
        Err(ExpressionError::Compile(near.unwrap_or("the end").to_owned()))
    }
    fn want(&self, operand: Typed, kind: Kind, near: &str) -> Result<Typed, ExpressionError> {
        if operand.0 == kind { Ok(operand) } else { self.wrong(Some(near)) }
    }

    fn conditional(&mut self) -> Result<Typed, ExpressionError> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return self.wrong(self.peek());
        }
        let condition = self.logical(false)?;
        let result = if self.eat("?") {
            let condition = self.want(condition, Kind::Bool, "?")?;
            let yes = self.logical(false)?;
            if !self.eat(":") {
                return self.wrong(self.peek());
            }
            let no = self.conditional()?;
            let no = self.want(no, yes.0, ":")?;
            (yes.0, condition.1.and_then(|c| if c == 1 { yes.1 } else { no.1 }))
        } else {
            condition
        };
        self.depth -= 1;
        Ok(result)
    }

    /// `||` over `&&` over relations. One side that decides hides a failure of the other.
    fn logical(&mut self, and: bool) -> Result<Typed, ExpressionError> {
        let operator = if and { "&&" } else { "||" };
        let deciding = i64::from(!and);
        let mut left = if and { self.relation()? } else { self.logical(true)? };
        while self.eat(operator) {
            let right = if and { self.relation()? } else { self.logical(true)? };
            let l = self.want(left, Kind::Bool, operator)?.1;
            let r = self.want(right, Kind::Bool, operator)?.1;
            let value = match (l, r) {
                (Ok(v), _) | (_, Ok(v)) if v == deciding => Ok(deciding),
                (Err(error), _) | (_, Err(error)) => Err(error),
                _ => Ok(1 - deciding),
            };
            left = (Kind::Bool, value);
        }
        Ok(left)
    }

    fn relation(&mut self) -> Result<Typed, ExpressionError> {
        let mut left = self.sum()?;
        while let Some(operator) = self.any_of(&["==", "!=", "<=", ">=", "<", ">"]) {
            let right = self.sum()?;
            let right = self.want(right, left.0, operator)?;
            let value = left.1.and_then(|l| {
                let r = right.1?;
                Ok(i64::from(match operator {
                    "==" => l == r,
                    "!=" => l != r,
                    "<=" => l <= r,
                    ">=" => l >= r,
                    "<" => l < r,
                    _ => l > r,
                }))
            });
            left = (Kind::Bool, value);
        }
        Ok(left)
    }

    fn sum(&mut self) -> Result<Typed, ExpressionError> {
        let mut left = self.product()?;
        while let Some(operator) = self.any_of(&["+", "-"]) {
            let right = self.product()?;
            left = self.arithmetic(left, operator, right)?;
        }
        Ok(left)
    }

    fn product(&mut self) -> Result<Typed, ExpressionError> {
        let mut left = self.unary()?;
        while let Some(operator) = self.any_of(&["*", "/", "%"]) {
            let right = self.unary()?;
            left = self.arithmetic(left, operator, right)?;
        }
        Ok(left)
    }

    fn arithmetic(
        &self,
        left: Typed,
        operator: &str,
        right: Typed,
    ) -> Result<Typed, ExpressionError> {
        let left = self.want(left, Kind::Int, operator)?.1;
        let right = self.want(right, Kind::Int, operator)?.1;
        let value = left.and_then(|l| {
            let r = right?;
            let failure = match operator {
                "/" | "%" if r == 0 => "division by zero",
                _ => "integer overflow",
            };
            match operator {
                "+" => l.checked_add(r),
                "-" => l.checked_sub(r),
                "*" => l.checked_mul(r),
                "/" => l.checked_div(r),
                _ => l.checked_rem(r),
            }
            .ok_or(ExpressionError::Evaluate(failure))
        });
        Ok((Kind::Int, value))
    }

    fn unary(&mut self) -> Result<Typed, ExpressionError> {
        let Some(operator) = self.any_of(&["-", "!"]) else { return self.operand() };
        let mut times = 1u32;
        while self.eat(operator) {
            times += 1;
        }
        let kind = if operator == "-" { Kind::Int } else { Kind::Bool };
        let operand = self.operand()?;
        let (_, value) = self.want(operand, kind, operator)?;
        let once = |v: i64| match kind {
            Kind::Bool => Ok(1 - v),
            Kind::Int => v.checked_neg().ok_or(ExpressionError::Evaluate("integer overflow")),
        };
        Ok((kind, if times % 2 == 1 { value.and_then(once) } else { value }))
    }

    fn operand(&mut self) -> Result<Typed, ExpressionError> {
        let Some(token) = self.peek() else { return self.wrong(None) };
        self.at += 1;
        let int = |value| Ok((Kind::Int, Ok(value)));
        match token {
            "(" => {
                let inside = self.conditional()?;
                if self.eat(")") { Ok(inside) } else { self.wrong(self.peek()) }
            }
            "default_enis" => int(self.variables.default_enis),
            "ips_per_eni" => int(self.variables.ips_per_eni),
            "max_pods" => int(self.variables.max_pods),
            "true" => Ok((Kind::Bool, Ok(1))),
            "false" => Ok((Kind::Bool, Ok(0))),
            _ => {
                let hexadecimal =
                    token.strip_prefix("0x").map(|digits| i64::from_str_radix(digits, 16));
                match hexadecimal.unwrap_or_else(|| token.parse()) {
                    Ok(value) => int(value),
                    Err(_) => self.wrong(Some(token)),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn t3_medium(expression: &str) -> Result<i64, ExpressionError> {
        evaluate(expression, Variables { default_enis: 3, ips_per_eni: 6, max_pods: 17 })
    }

    #[test]
    fn arithmetic_and_conditions() {
        assert_eq!(t3_medium("(default_enis * (ips_per_eni - 1)) + 2"), Ok(17));
        assert_eq!(t3_medium("((default_enis - 1) * (ips_per_eni - 1)) + 2"), Ok(12));
        assert_eq!(t3_medium("max_pods < 30 ? max_pods : 30"), Ok(17));
        assert_eq!(t3_medium("max_pods > 10 && default_enis == 3 ? 1 : max_pods / 0"), Ok(1));
        assert_eq!(t3_medium("1 + 2 * 3 - 8 / 3 % 2"), Ok(7));
        assert_eq!(t3_medium("- -5 + 0x10"), Ok(21));
        assert_eq!(t3_medium("!(1 > 2) || 1/0 == 1 ? 4 : 5"), Ok(4));
    }

    #[test]
    fn refusals() {
        use ExpressionError::{Compile, Evaluate, NotAnInteger, OutOfRange};
        assert_eq!(t3_medium("max_pods - 17"), Err(OutOfRange(0)));
        assert_eq!(t3_medium("- max_pods"), Err(OutOfRange(-17)));
        assert_eq!(t3_medium("2147483647 * 2"), Err(OutOfRange(4_294_967_294)));
        assert_eq!(t3_medium("true"), Err(NotAnInteger));
        assert_eq!(t3_medium("max_pods / (default_enis - 3)"), Err(Evaluate("division by zero")));
        assert_eq!(t3_medium("9223372036854775807 + 1"), Err(Evaluate("integer overflow")));
        for bad in ["", "1 +", "fake + 1", "1 + true", "(1", "1 2", "1.5", "true ? 1 : false", "a$"]
        {
            assert!(matches!(t3_medium(bad), Err(Compile(_))), "{bad}");
        }
        let deep = format!("{}1{}", "(".repeat(100_000), ")".repeat(100_000));
        assert!(matches!(t3_medium(&deep), Err(Compile(_))));
    }

    #[test]
    fn fallback_to_the_standard_value() {
        assert_eq!(with_fallback(None, 3, 6), 17);
        assert_eq!(with_fallback(Some(""), 6, 12), 68);
        assert_eq!(with_fallback(Some("99 - fake_variable"), 3, 6), 17);
        assert_eq!(with_fallback(Some("max_pods + 1"), 3, 6), 18);
    }
}
