"""Pictures and figures of a gradient on its way back through time."""

from jaxrnn.diagnostics.contributions import gradient_norm_by_lag, lag_contributions, weight_contributions
from jaxrnn.diagnostics.explanation import Explanation, explain
from jaxrnn.diagnostics.gates import GateStatistics, gate_statistics
from jaxrnn.diagnostics.gradient_check import GradientReport
from jaxrnn.diagnostics.hidden import hidden_gradients
from jaxrnn.diagnostics.jacobian_products import product_norms, singular_values, spectral_radius
from jaxrnn.diagnostics.jacobians import state_jacobians
from jaxrnn.diagnostics.lyapunov import lyapunov_spectrum
from jaxrnn.diagnostics.non_finite import FirstNonFinite, first_non_finite
from jaxrnn.diagnostics.plots import (
    plot_gate_statistics,
    plot_gradient_norm_by_lag,
    plot_hidden_gradients,
    plot_lag_contributions,
    plot_state_jacobians,
    plot_weight_contributions,
)
from jaxrnn.diagnostics.report import GradientFlow, LayerReport
from jaxrnn.diagnostics.statistics import GradientStatistics, LayerStatistics, gradient_statistics
from jaxrnn.models.encoder_decoder import attention_weights

__all__ = [
    "Explanation",
    "FirstNonFinite",
    "GateStatistics",
    "GradientFlow",
    "GradientReport",
    "GradientStatistics",
    "LayerReport",
    "LayerStatistics",
    "attention_weights",
    "explain",
    "first_non_finite",
    "gate_statistics",
    "gradient_norm_by_lag",
    "gradient_statistics",
    "hidden_gradients",
    "lag_contributions",
    "lyapunov_spectrum",
    "plot_gate_statistics",
    "plot_gradient_norm_by_lag",
    "plot_hidden_gradients",
    "plot_lag_contributions",
    "plot_state_jacobians",
    "plot_weight_contributions",
    "product_norms",
    "singular_values",
    "spectral_radius",
    "state_jacobians",
    "weight_contributions",
]


def __dir__() -> list[str]:
    return __all__
