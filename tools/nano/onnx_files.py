"""The two ONNX files of a release, as containers of weights: initializers under the release's names, a node for each use of one.

They need not run; readers go by the names of nodes and initializers.
"""
import onnx
from onnx import TensorProto, helper, numpy_helper


class Graph:
    def __init__(self):
        self.nodes, self.initializers = [], []

    def weight(self, name, value):
        self.initializers.append(numpy_helper.from_array(value.detach().float().contiguous().numpy(), name))
        return name

    def node(self, scope, kind, inputs):
        """inputs: names of initializers, None for a value that comes from elsewhere"""
        path = f"{scope}/{kind}"
        names = [name or f"{path}_input_{k}" for k, name in enumerate(inputs)]
        self.nodes.append(helper.make_node(kind, names, [f"{path}_output_0"], name=path))

    def write(self, path, inputs, output):
        values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in (*inputs, output)]
        graph = helper.make_graph(self.nodes, "main_graph", values[:-1], values[-1:], self.initializers)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8, producer_name="sa2-nano")
        onnx.save(model, path)


def write_speech_tokenizer(path, tokenizer):
    state, g = tokenizer.state_dict(), Graph()
    for k in (1, 2):
        g.node(f"/conv{k}", "Conv", [None, *(g.weight(f"onnx::Conv_{2214 + 2 * k + bias}", state[f"encoder.conv{k}.{part}"])
                                            for bias, part in enumerate(("weight", "bias")))])
    for i in range(len(tokenizer.encoder.blocks)):
        def norm(name, number):
            prefix = f"encoder.blocks.{i}.{name}"
            g.node(f"/blocks.{i}/{name}", "LayerNormalization", [
                None, g.weight(f"onnx::LayerNormalization_{number + 52 * i}", state[prefix + ".weight"]),
                g.weight(f"onnx::LayerNormalization_{number + 1 + 52 * i}", state[prefix + ".bias"])])

        def linear(name, scope, weight, bias):
            prefix, scope = f"encoder.blocks.{i}.{name}", f"/blocks.{i}/{scope}"
            g.node(scope, "MatMul", [None, g.weight(f"onnx::MatMul_{weight + 52 * i}", state[prefix + ".weight"].T)])
            if bias:
                g.node(scope, "Add", [g.weight(f"onnx::Add_{bias + 52 * i}", state[prefix + ".bias"]), None])
        norm("attn_ln", 2224)
        for name, weight, bias in (("query", 2228, 2227), ("key", 2230, 0), ("value", 2233, 2232), ("out", 2267, 2266)):
            linear(f"attn.{name}", f"attn/{name}", weight, bias)
        memory = f"blocks.{i}.attn.fsmn_block.weight"
        g.node(f"/blocks.{i}/attn/fsmn_block", "Conv", [None, g.weight(memory, state["encoder." + memory])])
        norm("mlp_ln", 2268)
        linear("mlp.0", "mlp/mlp.0", 2272, 2271)
        linear("mlp.2", "mlp/mlp.2", 2275, 2274)
    down = "quantizer._codebook.project_down"
    g.node("/project_down", "MatMul", [None, g.weight("onnx::MatMul_2536", state[down + ".weight"].T)])
    g.node("/project_down", "Add", [g.weight("quantizer.project_in.bias", state[down + ".bias"]), None])
    g.write(path, ["feats", "feats_length"], "indices")


def write_speaker(path, encoder):
    """Convolutions with a batch norm in them have numbers for names, in the order of the graph."""
    state, g, number = encoder.state_dict(), Graph(), 4423

    def scope_of(name):
        parts = name.split(".")
        return "".join(f"/{parts[k - 1]}.{p}" if p.isdigit() else f"/{p}" for k, p in enumerate(parts))
    heads = ["head.conv1"] + [f"head.layer{a}.{b}.{c}" for a in (1, 2) for b in (0, 1) for c in ("conv1", "conv2", "shortcut.0")[:3 - b]]
    trunk = [name for name, _ in encoder.named_modules() if name.startswith("xvector")
             and (f"{name}.weight" in state or f"{name}.running_mean" in state)]
    for name in [*heads, "head.conv2", *trunk]:
        if f"{name}.running_mean" in state:
            parts = [f"{name}.{part}" if f"{name}.{part}" in state else None for part in ("weight", "bias", "running_mean", "running_var")]
            g.node(scope_of(name), "BatchNormalization", [None, *(g.weight(p, state[p]) if p else None for p in parts)])
            continue
        parts = [f"{name}.{part}" for part in ("weight", "bias") if f"{name}.{part}" in state]
        labels = parts
        if len(parts) == 2 and "cam_layer" not in name:
            labels, number = [f"onnx::Conv_{number}", f"onnx::Conv_{number + 1}"], number + 3
        g.node(scope_of(name), "Conv", [None, *(g.weight(label, state[p]) for label, p in zip(labels, parts))])
    g.write(path, ["input"], "output")
