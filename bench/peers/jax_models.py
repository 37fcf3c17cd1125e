"""The small models in JAX, as their authors' library says them: what `jit` makes of one function of the images, and of
a training step.

Sparse layers come in three ways, of which the fastest is taken: the rows of each expert in buffers as large as these
inputs need (the authors' dispatch by indices, nothing dropped), the rows sorted by expert and multiplied in one ragged
product, and every expert for every row.
"""
import jax
import jax.numpy as jnp
import numpy as np

HEADS, SELECTED = 4, 2


def norm(x, weights, name):
    mean = x.mean(-1, keepdims=True)
    variance = jnp.square(x - mean).mean(-1, keepdims=True)
    return (x - mean) * jax.lax.rsqrt(variance + 1e-6) * weights[f"{name}.scale"] + weights[f"{name}.bias"]


def linear(x, weights, name):
    return x @ weights[f"{name}.kernel"] + weights[f"{name}.bias"]


def attention(x, weights, name):
    split = [linear(x, weights, f"{name}.{part}").reshape(*x.shape[:2], HEADS, -1) for part in ("query", "key", "value")]
    query, key, value = split
    scores = jnp.einsum("bqhd,bkhd->bhqk", query / np.sqrt(query.shape[-1]), key)
    mixed = jnp.einsum("bhqk,bkhd->bqhd", jax.nn.softmax(scores), value)
    return linear(mixed.reshape(x.shape), weights, f"{name}.output")


def mlp(x, weights, name):
    return linear(jax.nn.gelu(linear(x, weights, f"{name}.hidden")), weights, f"{name}.output")


def expert_weights(weights, name):
    return [weights[f"{name}.{part}"] for part in ("hidden.kernel", "hidden.bias", "output.kernel", "output.bias")]


def batched_mlp(x, parts):
    """x: experts x rows x dim."""
    kernel1, bias1, kernel2, bias2 = parts
    hidden = jax.nn.gelu(jnp.einsum("erd,edh->erh", x, kernel1) + bias1[:, None])
    return jnp.einsum("erh,ehd->erd", hidden, kernel2) + bias2[:, None]


def by_indices(rows, chosen, gates, parts, capacity):
    """chosen, gates: rows x k. Buffers of `capacity` rows per expert; row `capacity` takes what finds no place."""
    experts, k = parts[0].shape[0], chosen.shape[1]
    flat = chosen.reshape(-1)
    one_hot = jax.nn.one_hot(flat, experts, dtype=jnp.int32)
    place = jnp.minimum((jnp.cumsum(one_hot, axis=0) * one_hot).sum(-1) - 1, capacity)
    buffers = jnp.zeros((experts, capacity + 1, rows.shape[1])).at[flat, place].set(jnp.repeat(rows, k, axis=0))
    outputs = batched_mlp(buffers[:, :capacity], parts)
    kept = jnp.where(place < capacity, gates.reshape(-1), 0.)
    picked = outputs[flat, jnp.minimum(place, capacity - 1)] * kept[:, None]
    return picked.reshape(rows.shape[0], k, -1).sum(1)


def ragged(rows, chosen, gates, parts, _capacity):
    kernel1, bias1, kernel2, bias2 = parts
    k = chosen.shape[1]
    flat = chosen.reshape(-1)
    order = jnp.argsort(flat)
    sizes = jnp.bincount(flat, length=kernel1.shape[0])
    expert = flat[order]
    hidden = jax.nn.gelu(jax.lax.ragged_dot(rows[order // k], kernel1, sizes) + bias1[expert])
    outputs = jax.lax.ragged_dot(hidden, kernel2, sizes) + bias2[expert]
    return jnp.zeros_like(rows).at[order // k].add(outputs * gates.reshape(-1)[order][:, None])


def every_expert(rows, chosen, gates, parts, _capacity):
    experts = parts[0].shape[0]
    share = (jax.nn.one_hot(chosen, experts) * gates[..., None]).sum(1)
    outputs = batched_mlp(jnp.broadcast_to(rows, (experts, *rows.shape)), parts)
    return jnp.einsum("re,erd->rd", share, outputs)


def gathered_weights(images, chosen, parts):
    """One expert per image: its weights are gathered."""
    return batched_mlp(images, [part[chosen] for part in parts])


def per_patch(x, weights, name, way, capacity):
    rows = x.reshape(-1, x.shape[-1])
    gates = jax.nn.softmax(rows @ weights[f"{name}.router.kernel"])
    top, chosen = jax.lax.top_k(gates, SELECTED)
    return way(rows, chosen, top, expert_weights(weights, f"{name}.experts"), capacity).reshape(x.shape)


def per_image(x, weights, name, choice, way, capacity):
    """The tokens of an image go the way of rows, or all together."""
    gate, chosen = choice
    parts = expert_weights(weights, f"{name}.experts")
    if way is gathered_weights:
        return gathered_weights(x, chosen[:, 0], parts) * gate[:, :, None]
    tokens = x.shape[1]
    rows = x.reshape(-1, x.shape[-1])
    spread = [jnp.repeat(part, tokens, axis=0) for part in (chosen, gate)]
    return way(rows, *spread, parts, capacity).reshape(x.shape)


def embed(images, weights):
    kernel = weights["patch_embedding.kernel"]
    patch, dim = kernel.shape[0], kernel.shape[-1]
    batch, side = images.shape[0], images.shape[1] // patch
    cut = images.reshape(batch, side, patch, side, patch, -1).transpose(0, 1, 3, 2, 4, 5).reshape(batch, side * side, -1)
    patches = cut @ kernel.reshape(-1, dim) + weights["patch_embedding.bias"]
    first = jnp.broadcast_to(weights["class_token"], (batch, 1, dim))
    return jnp.concatenate([first, patches], axis=1) + weights["position_embedding"]


def forward(weights, images, way, capacity):
    x, choice = embed(images, weights), None
    for block in range(1 + max(int(name.split(".")[1]) for name in weights if name.startswith("blocks."))):
        name = f"blocks.{block}"
        if choice is None and "router.kernel" in weights and f"{name}.moe.experts.hidden.kernel" in weights:
            choice = jax.lax.top_k(jax.nn.softmax(linear(x.mean(1), weights, "router")), 1)
        x = x + attention(norm(x, weights, f"{name}.norm1"), weights, f"{name}.attention")
        y = norm(x, weights, f"{name}.norm2")
        if f"{name}.mlp.hidden.kernel" in weights:
            x = x + mlp(y, weights, f"{name}.mlp")
        elif choice is not None:
            x = x + per_image(y, weights, f"{name}.moe", choice, way, capacity)
        else:
            x = x + per_patch(y, weights, f"{name}.moe", way, capacity)
    return linear(norm(x[:, 0], weights, "norm"), weights, "head")


def buffer_rows(weights, images, capacity_ratio):
    """Rows of an expert's buffer. `capacity_ratio`: over what equal shares would need; 0: there are no buffers."""
    if not capacity_ratio:
        return 0
    experts = next(value.shape[0] for name, value in weights.items() if name.endswith("experts.hidden.kernel"))
    choices = weights["position_embedding"].shape[0] * (1 if "router.kernel" in weights else SELECTED)
    return -(-images * choices * capacity_ratio // experts)


def model(weights, way, capacity_ratio):
    """A function of the images."""
    weights = {name: jnp.asarray(value) for name, value in weights.items()}
    return jax.jit(lambda images: forward(weights, images, way, buffer_rows(weights, len(images), capacity_ratio)))


def adam(state, gradients, rate, beta1=0.9, beta2=0.999, epsilon=1e-8):
    """state: weights, first and second moments, steps so far."""
    weights, first, second, steps = state
    steps = steps + 1
    first = jax.tree.map(lambda m, g: beta1 * m + (1 - beta1) * g, first, gradients)
    second = jax.tree.map(lambda v, g: beta2 * v + (1 - beta2) * g * g, second, gradients)
    correction1, correction2 = 1 / (1 - beta1**steps), 1 / (1 - beta2**steps)
    weights = jax.tree.map(lambda w, m, v: w - rate * m * correction1 / (jnp.sqrt(v * correction2) + epsilon),
                           weights, first, second)
    return weights, first, second, steps


def training(weights, way, capacity_ratio):
    """The state to begin with, and step(state, images, rate) -> state, loss. Images 0, 1, 2... are of classes 0, 1,
    2..., round and round, as in training_step.hpp."""
    def loss_of(weights, images):
        logits = forward(weights, images, way, buffer_rows(weights, len(images), capacity_ratio))
        labels = np.arange(len(images)) % logits.shape[1]
        return -jax.nn.log_softmax(logits)[np.arange(len(images)), labels].mean()

    def step(state, images, rate):
        loss, gradients = jax.value_and_grad(loss_of)(state[0], images)
        return adam(state, gradients, rate), loss

    zeros = [{name: jnp.zeros_like(value) for name, value in weights.items()} for _ in range(2)]
    state = ({name: jnp.array(value) for name, value in weights.items()}, *zeros, jnp.zeros((), jnp.int32))
    return state, jax.jit(step, donate_argnums=0)
