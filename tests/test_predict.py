import numpy as np
import pytest
import soundfile
import torch

from hsutils.training.checkpoints import save_weights
from hsutils.errors import InputError
from hsutils.experiment import open_run
from hsutils.models.teacher_student import StudentCNN
from hsutils.predict import classify
from hsutils.audio.spectrograms import log_mel, standardize


@pytest.fixture
def trained(tmp_path):
    """A run folder with a student of random weights, and the student."""
    run = open_run("small", tmp_path / "run")
    torch.manual_seed(0)
    model = StudentCNN(run.experiment.front_end.shape).eval()
    save_weights(run.path("student.safetensors"), model.state_dict())
    return run, model


def test_a_file_gets_the_models_own_logit(trained, tmp_path):
    run, model = trained
    noise = np.random.default_rng(0).integers(-9000, 9000, 6000).astype(np.int16)
    soundfile.write(tmp_path / "heart.wav", noise, 2000)
    row = classify([tmp_path / "heart.wav"], run.folder).iloc[0]
    front_end = run.experiment.front_end
    spectrogram, _ = log_mel(noise / 32768, 2000, front_end)
    logit = model(standardize(spectrogram, front_end)[None, None]).item()
    assert row.logit == pytest.approx(logit, abs=1e-3)
    assert row.probability == pytest.approx(1 / (1 + np.exp(-logit)), abs=1e-3)
    assert row.prediction == ("abnormal" if logit > 0 else "normal")


def test_all_bad_files_are_named_at_once(trained, tmp_path):
    run, _ = trained
    (tmp_path / "text.wav").write_text("not a recording")
    with pytest.raises(InputError) as error:
        classify([tmp_path / "text.wav", tmp_path / "absent.wav"], run.folder)
    assert "text.wav" in str(error.value) and "absent.wav" in str(error.value)


def test_a_run_without_the_model_says_how_to_get_it(trained):
    run, _ = trained
    with pytest.raises(InputError, match=r"teacher\.safetensors.*make run"):
        classify(["heart.wav"], run.folder, "teacher")
