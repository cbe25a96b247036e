"""Chat models by name: whatever LangChain knows, and a transformers model on this machine without any server.

Knows names, messages and tokens; no documents, no questions. LangChain's own package for local transformers models
cannot be installed beside the current huggingface_hub, hence `LocalChat`.
"""

from functools import cache
from typing import Any

from langchain_core.language_models.chat_models import SimpleChatModel
from langchain_core.messages import BaseMessage, convert_to_openai_messages
from langchain_core.output_parsers import JsonOutputParser
from langchain_core.runnables import Runnable, RunnableLambda

from playbook.embedding import pick_device, weights_path

LOCAL = "transformers:"
GUIDANCE = {"lenient": True, "whitespace_flexible": False}  # what a mask cannot hold is passed over; no idle blanks


def chat_model(name: str) -> Any:
    """A LangChain chat model, for instance `ollama:NAME`, `openai:NAME` with OPENAI_BASE_URL set, or
    `transformers:FOLDER_OR_HUB_ID` for one that runs here; temperature 0.

    Raises ValueError with the install command when the provider's package is missing, and for unsafe local weights.
    """
    from langchain.chat_models import init_chat_model

    if name.startswith(LOCAL):
        return LocalChat(folder=weights_path(name.removeprefix(LOCAL)))
    try:
        return init_chat_model(name, temperature=0)
    except ImportError as error:
        provider = name.split(":")[0]
        raise ValueError(f"chat model '{name}' needs a package: pip install 'finetune-playbook[{provider}]'") from error


class LocalChat(SimpleChatModel):
    """A causal language model in this process, always choosing its likeliest next token; `most_tokens` bounds a reply."""

    folder: str
    most_tokens: int = 400

    @property
    def _llm_type(self) -> str:
        return "transformers"

    def _call(self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **kwargs: Any) -> str:
        asked = {"max_new_tokens": self.most_tokens, "do_sample": False, "temperature": None, "return_full_text": False}
        return _load(self.folder)(convert_to_openai_messages(messages), **asked, **kwargs)[0]["generated_text"]

    def with_structured_output(self, schema: dict[str, Any], **_: Any) -> Runnable:
        """The same model held to a JSON schema token by token (llguidance); a reply is the parsed object (no `include_raw`).

        What a mask cannot express (`if`, `format` ...) is left to validation. Raises ValueError without llguidance.
        """
        try:
            from llguidance import LLMatcher, hf
        except ImportError as error:
            raise ValueError("a schema needs a package: pip install 'finetune-playbook[constrained]'") from error
        local, grammar = _load(self.folder), LLMatcher.grammar_from_json_schema(schema | {"x-guidance": GUIDANCE})
        vocabulary = hf.from_tokenizer(local.tokenizer, n_vocab=local.model.config.vocab_size)

        def reply(asked: Any) -> BaseMessage:
            matcher, told = LLMatcher(vocabulary, grammar), list[int]()

            def allowed(_: int, ids: Any) -> list[int]:
                if told:  # the prompt is not part of the reply
                    matcher.consume_token(int(ids[-1]))
                told.append(len(ids))
                return [token for token, bias in enumerate(matcher.compute_logit_bias()) if bias]

            return self.invoke(asked, prefix_allowed_tokens_fn=allowed)

        return RunnableLambda(reply) | JsonOutputParser()


@cache
def _load(folder: str) -> Any:
    """Model with its tokenizer, once per process: safetensors only, no code of the model's own."""
    from transformers import pipeline

    safe = {"trust_remote_code": False, "model_kwargs": {"use_safetensors": True}}
    return pipeline("text-generation", folder, dtype="auto", device=pick_device()[0], **safe)
