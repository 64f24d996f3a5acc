/** Errors in the reader's words, with what the server said below. */

import {toast} from "./dom.js";
import {t} from "./i18n.js";

const BY_CODE = {invalid_audio: "error_audio", damaged_audio: "error_damaged", upload_too_large: "error_large"};
const BY_STATUS = {0: "error_unreachable", 401: "error_key", 404: "error_gone", 413: "error_large", 429: "error_busy",
  503: "error_loading"};
const BY_NAME = {NotAllowedError: "error_denied", NotFoundError: "error_microphone", NotReadableError: "error_microphone"};

export function show(error, title = "") {
  const key = BY_CODE[error.code] ?? BY_STATUS[error.status] ?? BY_NAME[error.name] ?? "error_other";
  toast(t(key, {title}), {details: error.message, trouble: true, close: t("close")});
}
