#!/usr/bin/env python3
"""Writes one small C++ source per distinct model or layer type that the golden cases and checkpoints need.

A configuration is a compile-time value in moevit, so the cases of a manifest cannot be run by one fixed program. This
script reads the manifests and writes, for every distinct type, a source that registers it under the keys of its cases
(see typed.hpp; a key is "<directory>#<case>"). CMake runs it while configuring; it prints the sources, separated by ';'.
Sources that did not change keep their time stamps.
"""

import argparse
import json
import os
import re
import sys

VIT_DEFAULTS = {
    "image": 224, "patch": 16, "channels": 3, "dim": 192, "depth": 12, "heads": 3, "hidden": 768, "classes": 1000,
    "image_width": 0, "patch_width": 0, "head_width": 0, "representation": 0, "head": "Head::class_token",
    "unread_class_token": False, "positions": "Positions::learned", "activation": "Activation::gelu_tanh",
    "qk_norm": "QkNorm::none", "final_norm": "FinalNorm::before_pooling", "layer_scale": False, "qkv_bias": True,
    "projection_bias": True, "mlp_bias": True, "epsilon": 1e-6,
}
MOE_DEFAULTS = {
    "experts": 8, "placement": "", "router": "RouterKind::top_k", "hidden": 0, "scale_by_gate": True, "slots": 1,
    "members": 1, "router_input": "RouterInput::mean",
}
SWIN_DEFAULTS = {
    "image": 224, "patch": 4, "channels": 3, "dim": 96, "depths": "{2, 2, 6, 2}", "heads": "{3, 6, 12, 24}", "window": 7,
    "mlp_ratio": 4.0, "classes": 1000, "image_width": 0, "form": "WindowForm::shrink", "output_norms": "{}",
    "absolute_positions": False, "patch_norm": True, "qkv_bias": True, "mlp_output_bias": True,
    "activation": "Activation::gelu_erf", "epsilon": 1e-5,
}
CVT_DEFAULTS = {
    "image": 224, "channels": 3, "depths": "", "dims": "", "heads": "", "patches": "", "patch_strides": "",
    "patch_paddings": "", "kernels": "", "query_paddings": "", "key_value_strides": "", "key_value_paddings": "",
    "mlp_ratios": "", "classes": 1000, "image_width": 0, "class_token": True, "qkv_bias": True,
    "batch_statistics": True, "activation": "Activation::gelu_quick", "epsilon": 1e-5, "batch_epsilon": 1e-5,
}
HEADS = {"token": "Head::class_token", "0": "Head::first_token", "gap": "Head::mean", "map": "Head::map"}
POSITIONS = {"learned": "Positions::learned", "sincos2d": "Positions::sincos2d", "none": "Positions::none"}


def literal(value):
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return repr(value) + "f"
    return str(value)


def aggregate(name, defaults, fields):
    """A C++ aggregate with the fields that differ from their defaults, in the order of their declaration."""
    unknown = set(fields) - set(defaults)
    if unknown:
        raise ValueError(f"{name} has no fields {sorted(unknown)}")
    given = [f".{key} = {literal(fields[key])}" for key in defaults if key in fields and fields[key] != defaults[key]]
    return f"{name}{{{', '.join(given)}}}"


def vit_config(**fields):
    return aggregate("VitConfig", VIT_DEFAULTS, fields)


def moe_config(**fields):
    return aggregate("MoeConfig", MOE_DEFAULTS, fields)


def sides(value):
    """(height, width) of a side or a pair of sides."""
    return (value[0], value[1]) if isinstance(value, list) else (value, value)


def image_fields(image, patch):
    (height, width), (patch_height, patch_width) = sides(image), sides(patch)
    return {"image": height, "image_width": 0 if width == height else width,
            "patch": patch_height, "patch_width": 0 if patch_width == patch_height else patch_width}


def activation(config):
    return "Activation::gelu_erf" if "erf" in config.get("gelu", "") else "Activation::gelu_tanh"


def blocks(numbers):
    return f"blocks({{{', '.join(str(number) for number in sorted(numbers))}}})"


def router_kind(router):
    name = router.get("name") or "NoisyTopExpertsPerItemRouter"
    kinds = {"NoisyTopExpertsPerItemRouter": "RouterKind::top_k", "NoisyTopItemsPerExpertRouter": "RouterKind::expert_choice",
             "NoisyTopExpertsPerItemEnsembleRouter": "RouterKind::top_k", "SoftRouter": "RouterKind::soft"}
    return kinds[name.split(".")[-1]]


class Case:
    """A case of a manifest, or a checkpoint: its key and the shapes of its tensors."""

    def __init__(self, directory, entry):
        self.key = f"{os.path.realpath(directory)}#{entry['name']}"
        self.config = entry["config"]
        tensors = entry["tensors"]
        if isinstance(tensors, list):
            tensors = {tensor["name"]: tensor for tensor in tensors}
        self.shapes = {name: value["shape"] if isinstance(value, dict) else value for name, value in tensors.items()}
        self.parameters = {name[len("params/"):]: shape for name, shape in self.shapes.items() if name.startswith("params/")}
        self.parameters = self.parameters or self.shapes

    def has(self, name):
        return name in self.shapes


def encoder_fields(config, case):
    """VitConfig of a model of the reference."""
    encoder = config["encoder"]
    position = encoder.get("position_emb", {"name": "learned"})
    position = (position or {"name": "none"}).get("name") or "none"
    fields = image_fields(config["image_size"], config["patch_size"])
    fields.update(
        channels=case.parameters["embedding/kernel"][2], dim=config["hidden_size"], depth=encoder["num_layers"],
        heads=encoder["num_heads"], hidden=encoder["mlp_dim"], classes=config.get("num_classes") or 0,
        representation=config.get("representation_size") or 0, head=HEADS[config["classifier"]],
        positions=POSITIONS[position], activation=activation(config), epsilon=config.get("layer_norm_epsilon", 1e-6),
        qk_norm="QkNorm::scale" if encoder.get("attention_qk_norm") else "QkNorm::none")
    return fields


def expert_hidden(case, block, dense_hidden):
    hidden = case.parameters[f"Encoder/encoderblock_{block}/Moe/Mlp/Dense_0/kernel"][-1]
    return 0 if hidden == dense_hidden else hidden


def model_type(config, case):
    """The type of a whole model of the reference."""
    fields = encoder_fields(config, case)
    encoder = config["encoder"]
    moe = encoder.get("moe") or {}
    layers = moe.get("layers") or []
    if not layers:
        return f"Vit<{vit_config(**fields)}>"
    router = moe["router"]
    moe_fields = {"experts": moe["num_experts"], "hidden": expert_hidden(case, min(layers), fields["hidden"])}
    if "pool" in router:
        return mobile_type(fields, dict(moe_fields, placement=f"last({fields['depth'] - min(layers)})"), router)
    moe_fields.update(placement=blocks(layers), router=router_kind(router), members=moe.get("ensemble_size") or encoder.get("ensemble_size") or 1)
    if moe_fields["router"] == "RouterKind::soft":
        moe_fields["slots"] = case.parameters[f"Encoder/encoderblock_{min(layers)}/Moe/Router/mu"][-1]
    return f"VMoe<{vit_config(**fields)}, {moe_config(**moe_fields)}>"


def mobile_type(fields, moe_fields, router):
    moe_fields.update(router_input="RouterInput::first_token" if router["pool"] == "first" else "RouterInput::mean",
                      scale_by_gate=router.get("scale_by_gate", True))
    return f"MobileVMoe<{vit_config(**fields)}, {moe_config(**moe_fields)}>"


def model(case):
    found = [("ModelFor", f"TypedModel<{model_type(case.config, case)}>", "")]
    if case.has("outputs/embedding"):
        fields = dict(encoder_fields(case.config, case), head="Head::mean", positions="Positions::none")
        found.append(("LayerFor", f"TypedEmbedding<{vit_config(**fields)}>", "#embedding"))
    return found


def mobile_model(case):
    config = case.config
    fields = image_fields(config["image"], config["patch"])
    fields.update(channels=config["channels"], dim=config["dim"], depth=config["depth"], heads=config["heads"],
                  hidden=config["hidden"], classes=config["classes"], head=HEADS[config["classifier"]])
    first = config["depth"] - config["last"]
    moe_fields = {"experts": config["experts"], "placement": f"last({config['last']})",
                  "hidden": expert_hidden(case, first, config["hidden"])}
    return [("ModelFor", f"TypedModel<{mobile_type(fields, moe_fields, config)}>", "")]


def bank(case, prefix=""):
    _, dim, hidden = case.parameters[prefix + "Mlp/Dense_0/kernel"]
    return dim, f"ExpertBank<Mlp<{dim}, {hidden}>>"


def sparse_mlp(case, router, members=1, prefix=""):
    dim, experts = bank(case, prefix)
    count = case.parameters[prefix + "Mlp/Dense_0/kernel"][0]
    kind = router_kind(router)
    if kind == "RouterKind::soft":
        slots = case.parameters[prefix + "Router/mu"][-1]
        return f"SoftMlp<SoftRouter<{dim}, {count}, {slots}>, {experts}>"
    if kind == "RouterKind::expert_choice":
        return f"SparseMlp<ExpertChoiceRouter<{dim}, {count}>, {experts}>"
    if members == 1:
        return f"SparseMlp<TopKRouter<{dim}, {count}>, {experts}>"
    return f"SparseMlp<TopKRouter<{dim}, {count}, {members}>, {experts}, {moe_config(experts=count, members=members)}>"


def moe_layer(case):
    router = case.config.get("router") or {}
    return [("LayerFor", f"TypedSparseMlp<{sparse_mlp(case, router, case.config.get('ensemble_size', 1))}>", "")]


def per_image_layer(case):
    dim, experts = bank(case)
    router_input = "RouterInput::first_token" if case.config["pool"] == "first" else "RouterInput::mean"
    router = f"PerImageRouter<{dim}, {case.config['num_experts']}, {router_input}>"
    return [("LayerFor", f"TypedPerImageMlp<SparseMlp<{router}, {experts}>>", "")]


def residual_moe_layer(case):
    dim, hidden = case.parameters["core/fc1/kernel"]
    experts = f"ResidualExpertBank<Mlp<{dim}, {hidden}, {activation(case.config)}>>"
    router = f"TopKRouter<{dim}, {case.config['num_experts']}>"
    return [("LayerFor", f"TypedSparseMlp<SparseMlp<{router}, {experts}>>", "")]


def encoder_block(case):
    config = case.config
    # One column of pixels that are patches each: as many tokens as the sequence has.
    vit = vit_config(image=config["seq_length"], image_width=1, patch=1, channels=1, dim=config["dim"], depth=1,
                     heads=config["num_heads"], hidden=config["mlp_dim"], head="Head::mean", activation=activation(config),
                     qk_norm="QkNorm::scale" if config.get("attention_qk_norm") else "QkNorm::none")
    moe = config.get("moe")
    sparse = f", {sparse_mlp(case, moe['router'], prefix='Moe/')}" if moe else ""
    return [("LayerFor", f"TypedBlock<{vit}{sparse}>", "")]


def vit(case):
    """timm's VisionTransformer; what the model has follows from its tensors."""
    config, parameters = case.config, case.parameters
    fields = image_fields(config.get("image_size", config.get("img_size")), config["patch_size"])
    average = config["global_pool"] == "avg"
    fields.update(
        channels=parameters["patch_embed.proj.weight"][1], dim=config["embed_dim"], depth=config["depth"],
        heads=config["num_heads"], hidden=parameters["blocks.0.mlp.fc1.weight"][0], classes=config.get("num_classes") or 0,
        head="Head::mean" if average else "Head::class_token",
        unread_class_token=average and "cls_token" in parameters,
        final_norm="FinalNorm::after_pooling" if "fc_norm.weight" in parameters else "FinalNorm::before_pooling",
        qk_norm="QkNorm::scale_and_bias" if "blocks.0.attn.q_norm.weight" in parameters else "QkNorm::none",
        layer_scale="blocks.0.ls1.gamma" in parameters, qkv_bias="blocks.0.attn.qkv.bias" in parameters,
        epsilon=config.get("layer_norm_eps", 1e-6))
    found = []
    for suffix, form in (("#erf", "Activation::gelu_erf"), ("#tanh", "Activation::gelu_tanh")):
        if suffix == "#erf" or case.has("outputs/logits_tanh_gelu"):
            found.append(("ModelFor", f"TypedModel<Vit<{vit_config(**dict(fields, activation=form))}>>", suffix))
    return found


def swin_fields(case):
    """What classifiers and backbones have in common."""
    config = case.config
    listed = lambda values: f"{{{', '.join(str(value) for value in values)}}}"
    return {
        "patch": config["patch_size"], "channels": config.get("in_chans", 3), "dim": config["embed_dim"],
        "depths": listed(config["depths"]), "heads": listed(config["num_heads"]), "window": config["window_size"],
        "mlp_ratio": float(config.get("mlp_ratio", 4.0)), "absolute_positions": bool(config.get("ape")),
        "patch_norm": config.get("patch_norm", True), "qkv_bias": config.get("qkv_bias", True),
        "activation": activation(config), "epsilon": config.get("layer_norm_eps", 1e-5)}


def swin_classifier(case):
    config = case.config
    height, width = sides(config["img_size"])
    fields = dict(swin_fields(case), image=height, image_width=0 if width == height else width,
                  classes=config.get("num_classes") or 0)
    return [("ModelFor", f"TypedModel<Swin<{aggregate('SwinConfig', SWIN_DEFAULTS, fields)}>>", "")]


def swin_backbone(case):
    config = case.config
    height, width = sides(config["pretrain_img_size"])
    stages = range(len(config["depths"]))
    norms = ", ".join(literal(stage in config["out_indices"]) for stage in stages)
    fields = dict(swin_fields(case), image=height, image_width=0 if width == height else width, classes=0,
                  form="WindowForm::pad", output_norms=f"{{{norms}}}")
    return [("BackboneFor", f"TypedBackbone<Swin<{aggregate('SwinConfig', SWIN_DEFAULTS, fields)}>>", "")]


def cvt(case):
    config, parameters = case.config, case.parameters
    if set(config["QKV_PROJ_METHOD"]) != {"dw_bn"} or set(config["STRIDE_Q"]) != {1} or any(config["CLS_TOKEN"][:-1]):
        raise ValueError("expected depth-wise projections, queries without stride and a class token in the last stage only")
    if len(set(config["QKV_BIAS"])) != 1:
        raise ValueError("expected QKV_BIAS to be the same in all stages")
    listed = lambda name, of=int: f"{{{', '.join(literal(of(value)) for value in config[name])}}}"
    height, width = sides(config["image_size"])
    kernel = parameters.get("stage0.patch_embed.proj.weight")  # the cases of names have their parameters in other files
    fields = {
        "image": height, "image_width": 0 if width == height else width, "classes": config.get("num_classes") or 0,
        "channels": kernel[1] if kernel else case.shapes["inputs/images"][-1],
        "depths": listed("DEPTH"), "dims": listed("DIM_EMBED"), "heads": listed("NUM_HEADS"), "patches": listed("PATCH_SIZE"),
        "patch_strides": listed("PATCH_STRIDE"), "patch_paddings": listed("PATCH_PADDING"), "kernels": listed("KERNEL_QKV"),
        "query_paddings": listed("PADDING_Q"), "key_value_strides": listed("STRIDE_KV"),
        "key_value_paddings": listed("PADDING_KV"), "mlp_ratios": listed("MLP_RATIO", float),
        "class_token": config["CLS_TOKEN"][-1], "qkv_bias": config["QKV_BIAS"][0],
        "batch_statistics": config["mode"].startswith("train"), "epsilon": config.get("layer_norm_eps", 1e-5),
        "batch_epsilon": config.get("batch_norm_eps", 1e-5)}
    found = [("ModelFor", f"TypedModel<Cvt<{aggregate('CvtConfig', CVT_DEFAULTS, fields)}>>", "#quick")]
    if case.has("outputs/logits_erf_gelu"):
        erf = dict(fields, activation="Activation::gelu_erf")
        found.append(("ModelFor", f"TypedModel<Cvt<{aggregate('CvtConfig', CVT_DEFAULTS, erf)}>>", "#erf"))
    return found


def checkpoint(case):
    return [("ModelFor", f"TypedModel<{model_type(case.config, case)}>", "")]


KINDS = {
    "moe_layer": moe_layer, "soft_moe_layer": moe_layer, "dropless_layer": moe_layer, "ensemble_layer": moe_layer,
    "per_image_layer": per_image_layer, "residual_moe_layer": residual_moe_layer, "encoder_block": encoder_block,
    "model": model, "mobile_model": mobile_model, "vit": vit,
    "swin_classifier": swin_classifier, "swin_names": swin_classifier, "swin_backbone": swin_backbone,
    "cvt": cvt, "cvt_names": cvt,
}

HEADERS = {"BackboneFor": "typed_backbone"}

SOURCE = """// Generated by tests/golden/generate.py.
#include "golden/{header}.hpp"

using namespace moevit;
using namespace moevit::test;

namespace {{

const {registration}<{type}> registration{{
{keys}}};

}}
"""


def cases_of(manifest_directories, checkpoint_directories):
    """(function, case) of everything that needs a type."""
    for directory in manifest_directories:
        with open(os.path.join(directory, "manifest.json"), encoding="utf-8") as stream:
            for entry in json.load(stream)["cases"]:
                if entry["kind"] in KINDS:
                    yield KINDS[entry["kind"]], Case(directory, entry)
    for directory in checkpoint_directories:
        for name in sorted(os.listdir(directory)):
            if name.endswith(".json"):
                with open(os.path.join(directory, name), encoding="utf-8") as stream:
                    yield checkpoint, Case(directory, json.load(stream))


def collect(cases):
    """Keys by (registration, type), in the order of their first case."""
    types = {}
    for function, case in cases:
        try:
            for registration, name, suffix in function(case):
                types.setdefault((registration, name), []).append(case.key + suffix)
        except (KeyError, ValueError, TypeError, IndexError) as problem:
            # The test of this case will fail, and only that one.
            print(f"{case.key}: no type for this configuration: {problem!r}", file=sys.stderr)
    return types


def write_if_changed(path, text):
    if os.path.exists(path):
        with open(path, encoding="utf-8") as stream:
            if stream.read() == text:
                return
    with open(path, "w", encoding="utf-8") as stream:
        stream.write(text)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", required=True, help="directory of the sources")
    parser.add_argument("--manifests", nargs="*", default=[], help="directories with a manifest.json")
    parser.add_argument("--checkpoints", nargs="*", default=[], help="directories with NAME.json beside NAME.safetensors")
    arguments = parser.parse_args()
    os.makedirs(arguments.output, exist_ok=True)
    sources = []
    for (registration, name), keys in collect(cases_of(arguments.manifests, arguments.checkpoints)).items():
        first = re.sub(r"[^A-Za-z0-9_.]", "_", keys[0].split("#", 1)[1])
        path = os.path.join(arguments.output, f"{len(sources):02}_{first}.cpp")
        listed = ",\n".join("    " + json.dumps(key) for key in keys)
        write_if_changed(path, SOURCE.format(header=HEADERS.get(registration, "typed"), registration=registration, type=name, keys=listed))
        sources.append(path)
    for name in os.listdir(arguments.output):
        if os.path.join(arguments.output, name) not in sources:
            os.remove(os.path.join(arguments.output, name))
    print(";".join(sources), end="")


if __name__ == "__main__":
    main()
