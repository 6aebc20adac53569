"""Checks of a request, with the words of the OpenAI API for what is wrong."""

from __future__ import annotations

from typing import Any

from fanout_worker.simulated.errors import ApiError

_ROLES = ("system", "developer", "assistant", "user", "function", "tool")
_TYPE_NAMES = {
    str: "a string",
    bool: "a boolean",
    int: "an integer",
    float: "a decimal",
    list: "an array",
    dict: "an object",
}
_FORMATS = ("json_object", "json_schema", "text")


def wrong_type(param: str, expected: str, value: Any) -> ApiError:
    """400: a value of another type than the API wants."""
    got = "null" if value is None else _TYPE_NAMES.get(type(value), "another type")
    message = f"Invalid type for '{param}': expected {expected}, but got {got} instead."
    return ApiError(400, message, param=param, code="invalid_type")


def missing(param: str) -> ApiError:
    """400: a parameter that must be there."""
    return ApiError(400, f"Missing required parameter: '{param}'.", param=param, code="missing_required_parameter")


def invalid_value(param: str, value: object, supported: tuple[str, ...]) -> ApiError:
    """400: a word that is none of those the API knows."""
    listed = ", ".join(f"'{word}'" for word in supported)
    message = f"Invalid value: '{value}'. Supported values are: {listed}."
    return ApiError(400, message, param=param, code="invalid_value")


def check_model(body: dict[str, Any]) -> str:
    """The model asked for: any name will do, but there must be one."""
    model = body.get("model")
    if model is None or model == "":
        raise ApiError(400, "you must provide a model parameter")
    if not isinstance(model, str):
        raise wrong_type("model", "a string", model)
    return model


def check_integer(body: dict[str, Any], param: str, least: int, most: int | None = None) -> int | None:
    """An optional whole number within bounds."""
    value = body.get(param)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool):
        raise wrong_type(param, "an integer", value)
    if value < least:
        message = (
            f"Invalid '{param}': integer below minimum value. Expected a value >= {least}, but got {value} instead."
        )
        raise ApiError(400, message, param=param, code="integer_below_min_value")
    if most is not None and value > most:
        message = (
            f"Invalid '{param}': integer above maximum value. Expected a value <= {most}, but got {value} instead."
        )
        raise ApiError(400, message, param=param, code="integer_above_max_value")
    return value


def check_temperature(body: dict[str, Any]) -> None:
    """An optional number from 0 to 2; the answers do not depend on it."""
    value = body.get("temperature")
    if value is None:
        return
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise wrong_type("temperature", "a decimal", value)
    if not 0 <= value <= 2:
        side, sign, bound = ("below minimum", ">=", 0) if value < 0 else ("above maximum", "<=", 2)
        message = (
            f"Invalid 'temperature': decimal {side} value. Expected a value {sign} {bound}, but got {value} instead."
        )
        raise ApiError(
            400, message, param="temperature", code=f"decimal_{side.replace('imum', '').replace(' ', '_')}_value"
        )


def check_messages(body: dict[str, Any]) -> list[tuple[str, str]]:
    """The messages as (role, text)."""
    if "messages" not in body:
        raise missing("messages")
    messages = body["messages"]
    if not isinstance(messages, list):
        raise wrong_type("messages", "an array of objects", messages)
    if not messages:
        message = (
            "Invalid 'messages': empty array. Expected an array with minimum length 1, but got an empty array instead."
        )
        raise ApiError(400, message, param="messages", code="empty_array")
    return [_check_message(message, f"messages[{i}]") for i, message in enumerate(messages)]


def _check_message(message: Any, param: str) -> tuple[str, str]:
    if not isinstance(message, dict):
        raise wrong_type(param, "an object", message)
    if "role" not in message:
        raise missing(f"{param}.role")
    role = message["role"]
    if role not in _ROLES:
        raise invalid_value(f"{param}.role", role, _ROLES)
    content = message.get("content")
    if isinstance(content, str):
        return role, content
    if isinstance(content, list):
        return role, "\n".join(_check_part(part, f"{param}.content[{i}]") for i, part in enumerate(content))
    if content is None and role in ("assistant", "function"):
        return role, ""  # a message of tool calls only
    if content is None and "content" not in message:
        raise missing(f"{param}.content")
    raise wrong_type(f"{param}.content", "one of a string or array of objects", content)


def _check_part(part: Any, param: str) -> str:
    if not isinstance(part, dict):
        raise wrong_type(param, "an object", part)
    if "type" not in part:
        raise missing(f"{param}.type")
    if part["type"] != "text":
        return ""  # images and sounds are taken and not looked at
    text = part.get("text")
    if not isinstance(text, str):
        raise wrong_type(f"{param}.text", "a string", text) if "text" in part else missing(f"{param}.text")
    return text


def check_format(body: dict[str, Any]) -> tuple[str, Any]:
    """The response format's type, and its schema where it is json_schema."""
    asked = body.get("response_format")
    if asked is None:
        return "text", None
    if not isinstance(asked, dict):
        raise wrong_type("response_format", "an object", asked)
    kind = asked.get("type")
    if kind is None:
        raise missing("response_format.type")
    if kind not in _FORMATS:
        raise invalid_value("response_format.type", kind, _FORMATS)
    if kind != "json_schema":
        return kind, None
    described = asked.get("json_schema")
    if not isinstance(described, dict):
        raise missing("response_format.json_schema")
    if not isinstance(described.get("name"), str):
        raise missing("response_format.json_schema.name")
    if not isinstance(described.get("schema"), dict):
        raise missing("response_format.json_schema.schema")
    return kind, described["schema"]
