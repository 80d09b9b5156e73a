//! Elementary functions with the same bits on every platform (`libm` in software).

/// Natural logarithm.
#[must_use]
pub fn ln(x: f64) -> f64 {
    libm::log(x)
}
/// Exponential.
#[must_use]
pub fn exp(x: f64) -> f64 {
    libm::exp(x)
}
/// Power of two.
#[must_use]
pub fn exp2(x: f64) -> f64 {
    libm::exp2(x)
}
/// Power.
#[must_use]
pub fn pow(x: f64, y: f64) -> f64 {
    libm::pow(x, y)
}
/// Square root (exact by IEEE 754, so the hardware's own).
#[must_use]
pub fn sqrt(x: f64) -> f64 {
    x.sqrt()
}
/// Sine.
#[must_use]
pub fn sin(x: f64) -> f64 {
    libm::sin(x)
}
/// Cosine.
#[must_use]
pub fn cos(x: f64) -> f64 {
    libm::cos(x)
}
/// Hyperbolic tangent.
#[must_use]
pub fn tanh(x: f64) -> f64 {
    libm::tanh(x)
}
/// Base-2 logarithm.
#[must_use]
pub fn log2(x: f64) -> f64 {
    libm::log2(x)
}
/// Natural logarithm of the absolute value of the gamma function.
#[must_use]
pub fn ln_gamma(x: f64) -> f64 {
    libm::lgamma(x)
}
/// Error function.
#[must_use]
pub fn erf(x: f64) -> f64 {
    libm::erf(x)
}
