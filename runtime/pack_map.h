/* pack_map.h - a part of a native file as a map of the release's tensors.
 *
 * Names, dtypes and shapes are those of the release, so that its configuration is completed and judged as a
 * folder's is. Weights are not taken out of it: runtime/weights.h uses the blocks where they lie. Where values are
 * asked for, they are put back in order row by row.
 */
#ifndef SA2_RUNTIME_PACK_MAP_H
#define SA2_RUNTIME_PACK_MAP_H

#include "loader/pack.h"
#include "loader/tensor_map.h"
#include "loader/token2wav_writer.h"

/* The parts of a native file. */
#define SA2_PACK_MODEL            "model"
#define SA2_PACK_FLOW             "flow"
#define SA2_PACK_VOCODER          "vocoder"
#define SA2_PACK_SPEAKER          "speaker"
#define SA2_PACK_SPEECH_TOKENIZER "speech_tokenizer"

/* Of the weights of a file in token2wav/. */
const char *sa2_pack_token2wav_part(sa2_token2wav_file file);

/* `part` is one of the above. The map keeps the pack open.
 * Errors, all in one report: SA2_ERR_UNSUPPORTED blocks in an order that this build does not know, with the command
 * that makes the file anew; SA2_ERR_FORMAT a block whose size is not that of its order; SA2_ERR_NOMEM. */
sa2_status sa2_pack_map_open(sa2_tensor_map **map, sa2_pack *pack, const char *part,
                             sa2_error *err);

#endif
