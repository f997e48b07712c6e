/* token2wav_reader.h - the weights in token2wav/ of a release folder, whatever kind of file holds them.
 */
#ifndef SA2_LOADER_TOKEN2WAV_READER_H
#define SA2_LOADER_TOKEN2WAV_READER_H

#include "loader/tensor_map.h"
#include "loader/token2wav_writer.h"

/* flow.pt and so on, or, where it is missing, flow.safetensors with the same names: what `sa2 convert` writes.
 * The caller owns *map. Errors: those of the readers. */
sa2_status sa2_token2wav_map_open(sa2_tensor_map **map, const char *folder, sa2_token2wav_file file,
                                  sa2_error *err);

/* "<folder>/flow.pt", or "<folder>/flow.safetensors" where only that is there. Errors: SA2_ERR_IO too long. */
sa2_status sa2_token2wav_find(char *path, size_t bytes, const char *folder, sa2_token2wav_file file,
                              sa2_error *err);

/* "flow.safetensors" and so on. */
void sa2_token2wav_safetensors_name(char *name, size_t bytes, sa2_token2wav_file file);

#endif
