/* check_model.h - the weights and a small decoding loop for golden cases of the language model.
 */
#ifndef SA2_TOOLS_CHECK_MODEL_H
#define SA2_TOOLS_CHECK_MODEL_H

#include "runtime/model.h"
#include "tools/check_case.h"

/* The parts (model.h) that a case needs: from the folder of the context, else made from the case's preset and seed. The
 * caller closes *model. */
sa2_status sa2_check_model_open(sa2_model *model, const sa2_check_run *run, int parts,
                                sa2_error *err);

/* Sequences side by side, each with as many pages as its longest length needs. */
typedef struct sa2_check_decoder {
    const sa2_model *model;
    sa2_dtype dtype;
    sa2_check_device device;
    sa2_kv_cache_view *kv; /* [layers] */
    int32_t *block_table;  /* [sequences, max_pages] */
    int n_sequences, max_pages;
    int64_t max_rows; /* of a step */
} sa2_check_decoder;

/* For steps of up to max_rows rows of n_sequences sequences of up to max_length positions. */
sa2_status sa2_check_decoder_open(sa2_check_decoder *decoder, const sa2_check_run *run,
                                  const sa2_model *model, int n_sequences, int64_t max_length,
                                  int64_t max_rows, sa2_error *err);
void sa2_check_decoder_close(sa2_check_decoder *decoder);

/* The next rows of one sequence. */
typedef struct sa2_check_piece {
    const int32_t *ids; /* [n] */
    int n;
    int first_position;
    const float *audio_rows; /* [n_audio, hidden], host; what replaces the embeddings at */
    const int32_t *
        audio_positions; /* [n_audio], of the sequence, rising; those outside this piece are left out */
    int n_audio;
} sa2_check_piece;

/* One forward of a piece of every sequence (n = 0: none). Logits [m, vocab] and hidden [m, hidden] (or NULL) of the rows
 * `wanted` [m], counted over all pieces, into host memory. */
sa2_status sa2_check_decoder_step(sa2_check_decoder *decoder, const sa2_check_piece *pieces,
                                  const int32_t *wanted, int m, float *logits, float *hidden,
                                  sa2_error *err);

#endif
