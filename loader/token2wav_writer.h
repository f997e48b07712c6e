/* token2wav_writer.h - writes token2wav/ of a release folder with synthetic weights.
 */
#ifndef SA2_LOADER_TOKEN2WAV_WRITER_H
#define SA2_LOADER_TOKEN2WAV_WRITER_H

#include <stdint.h>

#include "kernels/base/status.h"
#include "loader/preset.h"
#include "loader/tensor_map.h"
#include "loader/write_progress.h"

typedef enum sa2_token2wav_file {
    SA2_FLOW_FILE = 0,
    SA2_VOCODER_FILE,
    SA2_SPEAKER_FILE,
    SA2_SPEECH_TOKENIZER_FILE,
    SA2_TOKEN2WAV_FILES,
} sa2_token2wav_file;

/* "flow.pt", "hift.pt", "campplus.onnx", "speech_tokenizer_v2_25hz.onnx". */
const char *sa2_token2wav_file_name(sa2_token2wav_file file);

/* The tensors of one file of a preset with synthetic values (roles "flow", "hift", "campplus",
 * "speech_tokenizer" of synthetic.h). The caller owns *map. */
sa2_status sa2_token2wav_synthetic_map(sa2_tensor_map **map, sa2_token2wav_file file,
                                       const sa2_preset *preset, uint64_t seed, sa2_error *err);

/* Bytes of all values of the four files. Errors: SA2_ERR_NOMEM. */
sa2_status sa2_token2wav_bytes(uint64_t *bytes, const sa2_preset *preset, sa2_error *err);

/* Writes the four files and flow.yaml into `folder`, which exists.
 * Errors: SA2_ERR_IO with the file; what is unfinished is removed. */
sa2_status sa2_token2wav_write(const char *folder, const sa2_preset *preset, uint64_t seed,
                               sa2_write_progress progress, sa2_error *err);

#endif
