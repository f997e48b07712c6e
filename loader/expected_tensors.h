/* expected_tensors.h - every tensor of the language model: names, shapes, stored dtype.
 *
 * Names and shapes: stepfun-ai/Step-Audio-2-mini, whose shards hold 832 tensors, 16,630,358,528 bytes.
 */
#ifndef SA2_LOADER_EXPECTED_TENSORS_H
#define SA2_LOADER_EXPECTED_TENSORS_H

#include "loader/model_config.h"
#include "loader/tensor_list.h"

/* Adds them in the order embedding, decoder layers, final norm, lm_head, encoder, adaptor; bf16.
 * encoder.ffn and adaptor.inner must be known. */
sa2_status sa2_expected_tensors(sa2_tensor_list *list, const sa2_model_config *config,
                                sa2_error *err);

#endif
