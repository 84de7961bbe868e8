"""What a person would write to clip gradients before a step: definitions for a patch."""

CLIP_UNITS = '''
class ClipUnits:
    """Bound each unit's gradient by its weight's norm, before a step (AGC, Brock et al. 2021)."""

    def __init__(self, ratio, least=1e-3):
        self.ratio, self.least = ratio, least

    @torch.no_grad()
    def __call__(self, optimizer, args, kwargs):
        for p in (p for group in optimizer.param_groups for p in group["params"]):
            if p.grad is None or p.grad.is_sparse:
                continue
            bound = self.ratio * self.norm(p).clamp_min(self.least)
            p.grad.mul_((bound / self.norm(p.grad).clamp_min(1e-12)).clamp_max(1.0))

    def norm(self, x):
        axes = tuple(range(1, x.dim()))
        return torch.linalg.vector_norm(x, dim=axes, keepdim=True) if axes else x.abs()
'''
AUTO_CLIP = '''
class AutoClip:
    """Clip at a quantile of all gradient norms so far, before a step (Seetharaman et al. 2020)."""

    def __init__(self, quantile):
        self.quantile, self.norms = quantile, []

    def __call__(self, optimizer, args, kwargs):
        given = (p for group in optimizer.param_groups for p in group["params"])
        held = [p for p in given if p.grad is not None]
        norm = torch.nn.utils.get_total_norm([p.grad for p in held])
        if torch.isfinite(norm):
            self.norms = sorted([*self.norms, float(norm)])
        if self.norms:
            bound = self.norms[int(self.quantile * (len(self.norms) - 1))]
            torch.nn.utils.clip_grads_with_norm_(held, bound, norm)
'''
ZCLIP = '''
class ZClip:
    """Clip gradient norms far outside of their running distribution, before a step (ZClip 2025)."""

    def __init__(self, threshold, warm_up=25):
        self.threshold, self.warm_up = threshold, warm_up
        self.first, self.mean, self.variance = [], 0.0, 0.0

    def __call__(self, optimizer, args, kwargs):
        given = (p for group in optimizer.param_groups for p in group["params"])
        held = [p for p in given if p.grad is not None]
        norm = bound = float(torch.nn.utils.get_total_norm([p.grad for p in held]))
        if len(self.first) < self.warm_up:
            self.first.append(norm)
            self.mean = sum(self.first) / len(self.first)
            self.variance = sum((n - self.mean) ** 2 for n in self.first) / len(self.first)
        else:
            spread = max(self.variance, 1e-24) ** 0.5
            z = (norm - self.mean) / spread
            if z > self.threshold:
                bound = self.mean + self.threshold**2 / z * spread
            self.mean = 0.97 * self.mean + 0.03 * bound
            self.variance = 0.97 * self.variance + 0.03 * (bound - self.mean) ** 2
        torch.nn.utils.clip_grads_with_norm_(held, min(bound, 1.0), torch.tensor(norm))
'''
