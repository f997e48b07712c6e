/* tensor_file.h - single tensors out of a safetensors file, a golden case among them, whose inputs are named in.*.
 */
#ifndef SA2_TOOLS_TENSOR_FILE_H
#define SA2_TOOLS_TENSOR_FILE_H

#include <stdbool.h>

#include "runtime/token2wav/voice.h"

/* Whether the path ends as such a file does. */
bool sa2_is_tensor_file(const char *path);

/* Values of tensor `name` or "in.name": f32 or i32 as `tensor` says, whose shape is filled in where it is -1.
 * *values is malloc'ed. Errors, with the path: those of sa2_safetensors_open(); SA2_ERR_FORMAT no such tensor, another
 * dtype or shape, a value that is no number; SA2_ERR_NOMEM. */
sa2_status sa2_tensor_file_read(const char *path, const char *name, sa2_tensor *tensor,
                                void **values, sa2_error *err);

/* A voice: prompt_tokens [Np] i32, prompt_mel [frames_per_token * Np, mel_bins] f32, xvec [n_speaker] f32, as golden
 * cases hold them. The caller destroys *voice. */
sa2_status sa2_tensor_file_voice(const char *path, int frames_per_token, sa2_voice *voice,
                                 sa2_error *err);

#endif
