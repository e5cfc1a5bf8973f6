import pytest

ABOUT = {
    "taken": "2026-01-01T00:00:00+00:00", "took_s": 12.5, "mode": "full", "machine": "made up", "commit": "0000000000",
    "load_before": 0.1, "load_after": 1.5, "links": "emulated",
}  # fmt: skip


@pytest.fixture
def results():
    """Made by hand, shaped as the experiments make it: every target reached."""
    models = ("mobilenet_v2", "resnet18", "squeezenet1_1", "efficientnet-lite0")
    parts = {
        "seed_table": [
            {
                "model": "mobilenet_v2", "system": "Stageline", "latency_ms": 8.0, "latency_spread": [7.5, 9.0],
                "throughput_rps": 120.0, "throughput_spread": [118, 121], "cpu_pct": 90.0, "memory_mb": 300.0,
                "energy_j": 0.05, "energy_method": "modelled", "max_abs_error": 0.0,
            },
            {"model": "mobilenet_v2", "system": "PyTorch RPC split", "failed": "it did not start"},
        ],
        "headline": {
            "paper_way": {
                "baseline": "PyTorch eager", "latency_change_pct": -80.0, "throughput_change_pct": 450.0,
                "floor_change_pct": -82.0, "amp4ec_latency_change_pct": -78.35, "amp4ec_throughput_change_pct": 414.73,
            },
            "fair_way": {"baseline": "ONNX Runtime", "latency_change_pct": 20.0, "throughput_change_pct": 1.0},
        },
        "limit": [
            {"fleet": fleet, "model": model, "throughput_rps": 95.0, "bound_rps": 100.0, "ratio": 0.95}
            for fleet in ("h+m+l", "h+h+m+l", "eight unequal")
            for model in models
        ],
        "policies": [
            {"fleet": "h+m+l", "model": model, "policy": policy, "throughput_rps": rps, "latency_ms": ms}
            for model in models
            for policy, rps, ms in (("exact", 100.0, 10.0), ("amp4ec", 40.0, 30.0), ("even-split", 50.0, 25.0))
        ],
        "peers": [
            {"name": name, "model": "mobilenet_v2", "throughput_rps": rps, "latency_ms": 10.0}
            for name, rps in (("stageline", 100.0), ("torch-rpc", 30.0), ("torch-pipelining", 40.0), ("ray-serve", 9.0),
                              ("ray-serve-replicas", 20.0))
        ],
        "overhead": {"services_share_pct": 8.0, "monitor_core_pct": 0.5, "cpu_s": {"broker": 1.0, "workers": 11.5},
                     "hop": [{"bytes": 50_000, "stageline_ms": 0.25}]},
        "planning": [
            {"devices": 8, "policy": "exact", "planning_ms": 20.0, "gap_pct": 0.0},
            {"devices": 1000, "policy": "large-fleet", "planning_ms": 400.0, "gap_pct": 3.0},
        ],
        "codec": [{"cut": 3, "codec": "u8", "bytes": 1000, "of_fp32": 0.25, "encode_ms": 0.2, "top1_agreement": 1.0}],
    }  # fmt: skip
    experiments = {name: {**ABOUT, "parts": [name]} for name in parts}
    return {"meta": {"machine": "made up", "versions": {}, "experiments": experiments, "failures": {}}, **parts}
