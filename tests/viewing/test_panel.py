"""What the page's controls say, with handles that remember in place of a browser's."""

from types import SimpleNamespace

from onefield.viewing.panel import TrainingControls


class Handle(SimpleNamespace):
    def on_click(self, action):
        self.click = lambda: action(None)


class Server:
    def __init__(self):
        self.gui = self
        self.text, self.button = Handle(content=""), Handle(visible=True, label="")

    def add_markdown(self, content):
        self.text.content = content
        return self.text

    def add_button(self, label, visible):
        self.button.label, self.button.visible = label, visible
        return self.button


def test_step_score_pause_and_what_follows_training_are_told():
    server, changes = Server(), []
    controls = TrainingControls(server, True, lambda: changes.append(True))
    controls.show(1200, None)
    assert server.text.content == "step 1,200 · not scored yet"
    controls.show(1300, 27.123)
    assert server.text.content == "step 1,300 · 27.12 dB held-out PSNR"
    server.button.click()
    controls.show(1300, 27.123)
    assert (controls.paused, server.button.label, changes) == (True, "Resume training", [True])
    assert server.text.content.endswith("held-out PSNR · paused")
    server.button.click()
    controls.finish("scoring view 3 of 7")
    assert server.text.content == "step 1,300 · 27.12 dB held-out PSNR · scoring view 3 of 7"
    assert not server.button.visible


def test_work_on_a_run_that_was_not_trained_here_is_told_alone():
    server = Server()
    TrainingControls(server, False, lambda: None).finish("writing the report")
    assert server.text.content == "writing the report"
