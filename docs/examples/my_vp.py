"""A VP step, such as DDPO's DDIM, as the step of a flow that `check-sampler --policy` takes: see ../samplers.md."""


def as_flow_step(vp_step):
    """y_next, log_prob, mean, std = vp_step(y, abar, abar_next, eps, generator, y_next), where abar = a^2."""

    def step(x, t, t_next, velocity, generator=None, x_next=None):
        c, c_next = (((1 - time) ** 2 + time**2) ** 0.5 for time in (t, t_next))  # y = x / c
        abar, abar_next = ((1 - t) / c) ** 2, ((1 - t_next) / c_next) ** 2
        y_next = None if x_next is None else x_next / c_next
        y, log_prob, mean, std = vp_step(x / c, abar, abar_next, x + (1 - t) * velocity, generator, y_next)
        return c_next * y, log_prob - c_next.log(), c_next * mean, c_next * std  # of a sum over D: D * c_next.log()

    return step
