"""A noise schedule of your own: schedules --schedules geometric "my_schedule:Powers(power=3)"; see ../sweeps.md."""

from dataclasses import dataclass

from experiments import Schedule


@dataclass(frozen=True)
class Powers(Schedule):
    power: float = 2.0  # its parameters are fields with defaults

    def sigmas(self):  # n_steps + 1 levels, decreasing, in standard deviations of the data
        shares = (step / self.n_steps for step in range(self.n_steps, -1, -1))
        return tuple(self.sigma_min + (self.sigma_max - self.sigma_min) * share**self.power for share in shares)
