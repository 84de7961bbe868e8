"""What a person would write to adapt a model to its first batch: definitions for a patch."""

FIRST = '''
def on_first_batch(model, names, look):
    """Let `look` see each hidden layer's output, and change it, in one run on the first batch."""
    kinds = (torch.nn.Linear, torch.nn.Conv1d, torch.nn.Conv2d, torch.nn.Conv3d)
    layers = {name: m for name, m in model.named_modules() if isinstance(m, kinds)}
    hidden = [layers[name] for name in layers if name in names] if names else (
        list(layers.values())[:-1]
    )

    @torch.no_grad()
    def first(module, args, kwargs):
        handle.remove()
        buffers = [buffer.clone() for buffer in model.buffers()]
        with torch.random.fork_rng(devices=[]):
            hooks = look(hidden)
            model(*args, **kwargs)
        for hook in hooks:
            hook.remove()
        for buffer, before in zip(model.buffers(), buffers):
            buffer.copy_(before)

    handle = model.register_forward_pre_hook(first, prepend=True, with_kwargs=True)
'''
CALIBRATE = (
    FIRST
    + '''

def calibrate(model, names=None):
    """Make the first batch leave every hidden layer with unit size (LSUV, Mishkin & Matas 2016)."""

    def look(layers):
        for layer in layers:
            torch.nn.init.orthogonal_(layer.weight)
            if layer.bias is not None:
                torch.nn.init.zeros_(layer.bias)
        done = set()

        def scale(layer, args, output):
            size = float(output.float().square().mean().sqrt())
            if layer in done or size <= 1e-12:
                return output
            done.add(layer)
            layer.weight.div_(size)
            return output / size

        return [layer.register_forward_hook(scale, prepend=True) for layer in layers]

    on_first_batch(model, names, look)
'''
)
BOTH_WAYS = (
    FIRST
    + '''

class CalibrateBothWays:
    """On the first batch, scale layers to unit outputs, activations to unit slope and unit size."""

    def __init__(self, model, names=None):
        self.last, self.done, self.affine = None, set(), {}
        on_first_batch(model, names, self.look)
        for module in model.modules():
            if isinstance(module, <activations>):
                module.register_forward_hook(self.behind_activation)

    def look(self, layers):
        for layer in layers:
            torch.nn.init.orthogonal_(layer.weight)
            if layer.bias is not None:
                torch.nn.init.zeros_(layer.bias)
            layer.register_forward_hook(self.behind_layer)
        return [layer.register_forward_hook(self.scale, prepend=True) for layer in layers]

    def scale(self, layer, args, output):
        size = float(output.float().square().mean().sqrt())
        if layer in self.done or size <= 1e-12:
            return output
        self.done.add(layer)
        layer.weight.div_(size)
        return output / size

    def behind_layer(self, layer, args, output):
        self.last = layer

    def behind_activation(self, activation, args, output):
        layer, self.last = self.last, None
        if layer is None:
            return output
        if layer not in self.affine:
            self.affine[layer] = self.measure(activation.forward, args[0].detach())
        stretch, shift = self.affine[layer]
        return stretch * output + shift

    def measure(self, phi, z):
        with torch.enable_grad():
            leaf = z.clone().requires_grad_(True)
            slopes = torch.autograd.grad(phi(leaf.clone()).sum(), leaf)[0].double()
        slope, y = float(slopes.square().mean().sqrt()), phi(z.clone()).double()
        if slope <= 1e-12:
            return 1.0, 0.0
        stretch, mean, square = 1.0 / slope, float(y.mean()), float(y.square().mean())
        room = max(1.0 - stretch**2 * (square - mean**2), 0.0)
        return stretch, -stretch * mean + room**0.5
'''
)
REVIVE = (
    FIRST
    + '''

def revive_dead_units(model, names=None):
    """Draw the incoming weights of units anew that the first batch never makes positive."""

    def revive(layer, args, output):
        axis = output.dim() - 1 if isinstance(layer, torch.nn.Linear) else 1
        dead = (output.movedim(axis, 0).flatten(1) <= 0).all(dim=1)
        if dead.any():
            fresh = torch.empty_like(layer.weight).normal_(0, (2 / layer.weight[0].numel()) ** 0.5)
            layer.weight[dead] = fresh[dead]
            if layer.bias is not None:
                layer.bias[dead] = 0.0

    on_first_batch(model, names, lambda layers: [m.register_forward_hook(revive) for m in layers])
'''
)
STANDARDIZE = '''
class Standardize:
    """Take off the mean of the model's first input and divide it by its spread."""

    mean = spread = None

    def __call__(self, module, args):
        x = args[0]
        if self.mean is None:
            # features are the last axis of a table, the channels of an image or a signal
            axes = (0,) if x.dim() == 2 else (0, *range(2, x.dim()))
            self.mean = x.mean(axes, keepdim=True)
            spread = x.std(axes, keepdim=True, correction=0)
            self.spread = torch.where(spread > 1e-12, spread, torch.ones_like(spread))
        return ((x - self.mean) / self.spread, *args[1:])
'''
