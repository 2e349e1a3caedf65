"""The Trainer's own CallbackHandler with our callback: two epochs, the second is stopped in its middle. No torch."""

import json
import sys

from transformers.trainer_callback import CallbackHandler, TrainerControl, TrainerState

import carbonbudget as cb
from carbonbudget.huggingface import CarbonCallback, HuggingFaceHooks

spans = []
handler = CallbackHandler([CarbonCallback()], None, None, None, None)
state, control = TrainerState(epoch=0), TrainerControl()
handler.on_train_begin(None, state, control)
for epoch in range(2):
    state.epoch = float(epoch)
    handler.on_epoch_begin(None, state, control)
    spans.append(cb.current_spans()[-1])
    handler.on_step_end(None, state, control)
    if epoch == 0:
        state.epoch = 1.0
        handler.on_epoch_end(None, state, control)
        handler.on_log(None, state, control, logs={"loss": 1.0})
handler.on_train_end(None, state, control)
print(
    json.dumps(
        {
            "spans": [[span.name, span.step, span.end_ms is not None] for span in spans],
            "open": len(cb.current_spans()), "torch": "torch" in sys.modules,
            "is_hook": issubclass(CarbonCallback, HuggingFaceHooks),
        }
    )
)  # fmt: skip
