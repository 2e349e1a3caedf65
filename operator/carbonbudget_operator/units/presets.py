"""Counters of known inference servers, by the name that a target gives.

Each is a counter of Prometheus that the serving pod itself exposes, or the count or sum of a histogram, which only
grows. docs/units.md has the same table with what each one counts; a test compares them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple


class UnitPreset(NamedTuple):
    """A counter's name, and the labels that its series must have."""

    metric: str
    labels: tuple[tuple[str, str], ...] = ()


PRESETS: Final[Mapping[str, UnitPreset]] = {
    # vLLM, docs/usage/metrics.md: counters of the engine, by model_name.
    "vLLMOutputTokens": UnitPreset("vllm:generation_tokens_total"),
    "vLLMPromptTokens": UnitPreset("vllm:prompt_tokens_total"),
    "vLLMRequests": UnitPreset("vllm:request_success_total"),
    # SGLang, docs/references/production_metrics: with --enable-metrics.
    "SGLangOutputTokens": UnitPreset("sglang:generation_tokens_total"),
    "SGLangPromptTokens": UnitPreset("sglang:prompt_tokens_total"),
    "SGLangRequests": UnitPreset("sglang:num_requests_total"),
    # Hugging Face TGI, docs/source/reference/metrics.md: the sum of the histogram tgi_request_generated_tokens.
    "TGIOutputTokens": UnitPreset("tgi_request_generated_tokens_sum"),
    "TGIRequests": UnitPreset("tgi_request_success"),
    # Triton Inference Server, docs/user_guide/metrics.md: nv_inference_count counts each element of a batch.
    "TritonInferences": UnitPreset("nv_inference_count"),
    "TritonRequests": UnitPreset("nv_inference_request_success"),
    # TorchServe, docs/metrics_api.md.
    "TorchServeRequests": UnitPreset("ts_inference_requests_total"),
    # Seldon Core 2, operational metrics: the agent beside the inference server.
    "SeldonInferences": UnitPreset("seldon_model_infer_total"),
    # KServe's Python model server: the count of its histogram request_predict_seconds.
    "KServeRequests": UnitPreset("request_predict_seconds_count"),
    # Istio, standard metrics: as the serving pod's own proxy reports them. The client's proxy reports each one again.
    "IstioRequests": UnitPreset("istio_requests_total", (("reporter", "destination"),)),
    # OpenTelemetry, semantic conventions for generative AI: gen_ai.server.request.duration and
    # gen_ai.client.token.usage, as the OpenMetrics exporter writes them. The second is of the pod that calls the model.
    "OpenTelemetryGenAIRequests": UnitPreset("gen_ai_server_request_duration_seconds_count"),
    "OpenTelemetryGenAIOutputTokens": UnitPreset("gen_ai_client_token_usage_sum", (("gen_ai_token_type", "output"),)),
}
