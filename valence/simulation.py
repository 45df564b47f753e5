"""Recordings with a known truth: EEG of subjects who watch FACED's 28 clips, made from sources in a spherical head.

In: a World (what is planted, how strongly, and the seed). Out: (n_clips, n_chans, n_times) µV of one subject.

A source s has a 1/f spectrum whose logarithmic power in band b changes with the clip c and the subject i:

    gain_i · (axis_strength · value_f · A[b, s] + content_strength · C[f, b, s])      shared by all subjects
    + response_sd · R[i, c, b, s] + subject_sd · S[i, b, s] + drift_sd · D[i, b] · order_ic

A is the planted axis: smooth patches in alpha, beta and gamma. C is what else a clip does to a brain, at right angles
to A. value_c is the clip's valence: its class's value and a residual of its own. f is the clip that the subject reacts
as if to: c itself, and with label noise sometimes a clip of another class. Waveforms that are locked to the film stay
those of c.
"""

import functools
from dataclasses import dataclass

import numpy as np
import scipy.fft

from valence.cell import derive_seed
from valence.faced_files import MEAN_VALENCE, FacedFiles
from valence.features import BANDS, Band, band_gain
from valence.head import forward_model
from valence.worlds import COHORTS, World

SMOOTHNESS = 0.25
"""width of spatial patterns: they fall to 1/e where the cosine of the angle is 1 less this, at 41 degrees"""
PASS_BAND = Band("pass", 0.05, 47.0)
"""of FACED's official processing"""
AMPLITUDE_UV = 12.0
"""root mean square over channels of an average subject, after average reference"""
N_TIMES = round(FacedFiles.clip_seconds[0] * FacedFiles.sfreq)
N_MADE = N_TIMES + 600
"""samples made; the last ones are cut off, or a clip's end would join its beginning"""
EVOKED_HZ = 12.0
"""highest frequency of evoked waveforms"""
AXIS_PATCHES = (
    ("alpha", "F4", 0.6),
    ("alpha", "F3", -0.6),
    ("beta", "F7", -0.8),
    ("gamma", "PO3", 1.0),
    ("gamma", "O1", 0.8),
)
"""band, electrode above the patch and weight: the cells where the study (arXiv:2606.00129) sees valence"""


@dataclass(frozen=True)
class Planted:
    """The truth: what a perfect analysis would find."""

    class_values: np.ndarray
    """float64, (n_classes,), mean 0 and standard deviation 1"""
    clip_values: np.ndarray
    """float64, (n_clips,); their mean over the clips of a class is its value"""
    ratings: np.ndarray
    """float64, (n_clips,), on FACED's scale of 0 to 7"""
    axis: np.ndarray
    """float64, (n_bands, n_sources), largest magnitude 1"""
    content: np.ndarray
    """float64, (n_clips, n_bands, n_sources), standard deviation 1, each clip orthogonal to the axis"""
    evoked: np.ndarray
    """complex64, (n_clips, n_sources, n_frequencies), spectra of evoked waveforms; 1 µV at an average electrode"""


@functools.lru_cache(maxsize=2)
def plant(world: World) -> Planted:
    """Draw the truth of a world; it does not depend on subjects."""
    rng = _generator(world, "truth")
    labels = np.array(FacedFiles.class_of_clip)
    means = np.array([np.mean(np.array(MEAN_VALENCE)[labels == label]) for label in range(len(FacedFiles.classes))])
    class_values = (means - means.mean()) / means.std()
    residuals = rng.normal(size=labels.size)
    residuals -= np.array([residuals[labels == label].mean() for label in labels])
    clip_values = class_values[labels] + world.residual_strength * residuals / residuals.std()
    ratings = means.mean() + means.std() * clip_values + world.rating_noise * rng.normal(size=labels.size)
    axis = _axis_pattern()
    content = _smooth(rng, (labels.size, len(BANDS)))
    unit = axis / np.linalg.norm(axis)
    content -= np.einsum("cbs,bs->c", content, unit)[:, None, None] * unit
    return Planted(class_values, clip_values, ratings.clip(0, 7), axis, content / content.std(), _evoked(rng))


def simulate_subject(world: World, subject: str, *, cohort: int) -> np.ndarray:
    """Recording of one subject; the same whoever else is simulated.

    Parameters
    ----------
    world : what is planted.
    subject : name; it selects the random numbers.
    cohort : 1 or 2, see COHORTS.

    Returns
    -------
    float32 array, (n_clips, n_chans, n_times), µV, 0.05–47 Hz, common average reference.
    """
    rng = _generator(world, subject)
    campaign = COHORTS[cohort]
    power = _log_power(world, subject, rng, cohort=cohort)
    frequencies = _frequencies(PASS_BAND.high_hz + 1)
    passed = band_gain(frequencies, band=PASS_BAND)
    rest = passed * np.sqrt(_background(frequencies, peak_hz=rng.normal(10.0, 0.8)))
    rest *= AMPLITUDE_UV * campaign.amplitude * np.exp(0.2 * rng.normal())
    in_bands = np.stack([band_gain(frequencies, band=band) ** 2 for band in BANDS])
    mixing = _mixing(rng)
    noise = (campaign.noise_uv * passed / np.sqrt(frequencies.size)).astype(np.float32)
    evoked = world.evoked_uv * campaign.amplitude * plant(world).evoked
    x = np.empty((FacedFiles.n_clips, len(mixing), N_TIMES), dtype=np.float32)
    for signal, clip_power, clip_evoked in zip(x, power, evoked, strict=True):
        amplitude = (np.exp(0.5 * clip_power.T @ in_bands) * rest).astype(np.float32)
        sources = amplitude * _complex_normal(rng, amplitude.shape)
        sources[:, : clip_evoked.shape[-1]] += clip_evoked
        # as real numbers: a real matrix times a complex one would be done as complex times complex
        spectrum = (mixing @ sources.view(np.float32)).view(np.complex64)
        spectrum += noise * _complex_normal(rng, spectrum.shape)
        spectrum -= spectrum.mean(axis=0)
        # a spectrum with E|z|² = a² gives a signal of variance 2·Σa² / n²
        signal[:] = scipy.fft.irfft(spectrum * np.float32(N_MADE / np.sqrt(2)), N_MADE)[:, :N_TIMES]
    return x


def felt_clips(world: World, subject: str) -> np.ndarray:
    """Clip, from 0, whose response a subject gave to each clip: int array, (n_clips,).

    With `label_noise`, that share of them is a clip of another class, class and clip drawn at random.
    """
    rng = _generator(world, f"{subject}/felt")
    labels = np.array(FacedFiles.class_of_clip)
    n_classes = len(FacedFiles.classes)
    mistaken = rng.random(labels.size) < world.label_noise
    other = (labels + rng.integers(1, n_classes, size=labels.size)) % n_classes
    drawn = [rng.choice(np.flatnonzero(labels == label)) for label in other]
    return np.where(mistaken, drawn, np.arange(labels.size))


def presentation_order(world: World, subject: str) -> np.ndarray:
    """Clips (from 0) in the order shown to a subject: int array, (n_clips,).

    As in FACED, in seven blocks of four clips of one valence, so that slow drift mixes with valence.
    """
    rng = _generator(world, f"{subject}/order")
    polarity = np.sign(np.array(FacedFiles.class_of_clip) - FacedFiles.classes.index("neutral"))
    blocks = [
        block for sign in (-1, 0, 1) for block in rng.permutation(np.flatnonzero(polarity == sign)).reshape(-1, 4)
    ]
    return np.concatenate([blocks[block] for block in rng.permutation(len(blocks))])


def _log_power(world: World, subject: str, rng: np.random.Generator, *, cohort: int) -> np.ndarray:
    """Change of log power of one subject: float64, (n_clips, n_bands, n_sources), as in the module's formula."""
    truth = plant(world)
    n_clips, n_bands, _ = truth.content.shape
    felt = felt_clips(world, subject)
    shared = world.axis_strength * truth.clip_values[felt, None, None] * truth.axis
    shared += world.content_strength * truth.content[felt]
    own = world.response_sd * COHORTS[cohort].response * _smooth(rng, (n_clips, n_bands))
    rest = world.subject_sd * _smooth(rng, (n_bands,))
    time = np.empty(n_clips)
    time[presentation_order(world, subject)] = np.linspace(-0.5, 0.5, n_clips)
    drift = world.drift_sd * rng.normal(size=(n_bands, 1)) * time[:, None, None]
    return np.exp(0.2 * rng.normal()) * shared + own + rest + drift


def _axis_pattern() -> np.ndarray:
    """The planted axis: float64, (n_bands, n_sources), largest magnitude 1."""
    sources, electrodes, _ = forward_model(FacedFiles.ch_names)
    pattern = np.zeros((len(BANDS), len(sources)))
    for name, electrode, weight in AXIS_PATCHES:
        band = [band.name for band in BANDS].index(name)
        cosine = sources @ electrodes[FacedFiles.ch_names.index(electrode)]
        pattern[band] += weight * np.exp((cosine - 1) / SMOOTHNESS)
    return pattern / np.abs(pattern).max()


def _evoked(rng: np.random.Generator) -> np.ndarray:
    """Waveforms of 1/f spectrum above 1 Hz in three smooth patches for each clip, as `Planted.evoked` has them."""
    frequencies = _frequencies(EVOKED_HZ)
    shape = np.where(frequencies >= 1, 1 / np.maximum(frequencies, 1), 0) ** 0.5
    patches = _smooth(rng, (FacedFiles.n_clips, 3)).astype(np.float32)
    waves = _complex_normal(rng, (FacedFiles.n_clips, 3, frequencies.size)) * shape.astype(np.float32)
    evoked = np.einsum("cps,cpf->csf", patches, waves)
    return evoked / np.sqrt((np.abs(evoked) ** 2).sum(axis=-1).mean())


def _frequencies(below_hz: float) -> np.ndarray:
    """Frequencies of the made spectra below a limit, Hz."""
    frequencies = scipy.fft.rfftfreq(N_MADE, 1 / FacedFiles.sfreq)
    return frequencies[frequencies < below_hz]


def _smooth(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Random patterns that are smooth over the head: float64, (*shape, n_sources), standard deviation 1."""
    sources = forward_model(FacedFiles.ch_names)[0]
    kernel = np.exp((sources @ sources.T - 1) / SMOOTHNESS)
    return rng.normal(size=(*shape, len(sources))) @ (kernel / np.linalg.norm(kernel, axis=0))


def _mixing(rng: np.random.Generator) -> np.ndarray:
    """What a subject's electrodes see of the sources: float32, (n_chans, n_sources).

    Dipoles point outwards, tilted by each brain's own folds. Scaled so that sources of variance 1 give, on average over
    channels, variance 1 after average reference.
    """
    sources, _, gain = forward_model(FacedFiles.ch_names)
    orientation = sources + 0.3 * rng.normal(size=sources.shape)
    orientation /= np.linalg.norm(orientation, axis=1, keepdims=True)
    mixing = np.einsum("csx,sx->cs", gain, orientation)
    mixing -= mixing.mean(axis=0)
    return (mixing / np.sqrt((mixing**2).sum() / len(mixing))).astype(np.float32)


def _background(frequencies: np.ndarray, *, peak_hz: float) -> np.ndarray:
    """Share of each frequency in a source's power at rest: 1/f with an alpha peak; sums to 1."""
    power = (1 + np.exp(-0.5 * ((frequencies - peak_hz) / 1.5) ** 2)) / (frequencies + 0.3)
    return power / power.sum()


def _complex_normal(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Complex64 normal numbers with E|z|² = 1."""
    parts = rng.standard_normal((*shape[:-1], 2 * shape[-1]), dtype=np.float32)
    return parts.view(np.complex64) * np.float32(np.sqrt(0.5))


def _generator(world: World, stage: str) -> np.random.Generator:
    return np.random.default_rng(derive_seed(f"simulation/{world.seed}", stage))
