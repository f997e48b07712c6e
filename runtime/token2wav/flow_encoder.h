/* flow_encoder.h - speech tokens, 25 a second, to the mel that the flow takes as its mean, 50 a second.
 *
 * Maths: a transformer with relative positions (Dai et al. 2019, section 3.3, in ESPnet's form) before
 * and after an upsampling; UpsampleConformerEncoderV2 in cosyvoice2/transformer/upsample_encoder_v2.py of
 * stepfun-ai/Step-Audio2, golden cases in tests/golden/token2wav/.
 *
 *   tokens [L] -> embedded [L, width] -> look-ahead convolutions -> layers -> upsampled [up L, width]
 *   -> up layers -> mu [up L, mel]
 *
 * A stream comes in chunks: each is encoded with `lookahead` more tokens in sight and with the keys
 * and values of all chunks before it, attention being full inside a chunk. A whole sequence is one
 * chunk, the last, with nothing before it.
 */
#ifndef SA2_RUNTIME_TOKEN2WAV_FLOW_ENCODER_H
#define SA2_RUNTIME_TOKEN2WAV_FLOW_ENCODER_H

#include "loader/flow_yaml.h"
#include "runtime/token2wav/flow_room.h"
#include "runtime/weights.h"

typedef struct sa2_flow_encoder_layer {
    sa2_tensor attn_norm_weight, attn_norm_bias; /* [width] */
    sa2_matrix qkv;                              /* [3 width, width] */
    sa2_tensor qkv_bias;
    sa2_tensor u, w;      /* [heads, head_dim]: added to a query before keys, before positions */
    sa2_tensor positions; /* [2 reach - 1, width]: what a distance adds, row reach - 1 is 0 */
    sa2_matrix out;       /* [width, width] */
    sa2_tensor out_bias;
    sa2_tensor ffn_norm_weight, ffn_norm_bias;
    sa2_matrix up; /* [ffn, width] */
    sa2_tensor up_bias;
    sa2_matrix down; /* [width, ffn] */
    sa2_tensor down_bias;
} sa2_flow_encoder_layer;

/* A linear layer and the norm after it, times sqrt(width). */
typedef struct sa2_flow_embed {
    sa2_matrix linear; /* [width, width] */
    sa2_tensor bias, norm_weight, norm_bias;
} sa2_flow_embed;

typedef struct sa2_flow_encoder {
    sa2_flow_config config;
    sa2_dtype dtype;      /* of matrices, and of what goes into the products of the layers */
    int max_tokens;       /* of a sequence */
    sa2_tensor embedding; /* [vocab, width] */
    sa2_tensor embed_scale, no_shift; /* [2, width]: row 0 makes sqrt(width), row 1 makes 0 */
    sa2_flow_embed embed, up_embed;   /* of tokens, of upsampled rows */
    sa2_matrix ahead, behind;         /* [width, (lookahead + 1) width], [width, 3 width] */
    sa2_tensor ahead_bias, behind_bias;
    sa2_matrix upsample; /* [width, (2 up_stride + 1) width] */
    sa2_tensor upsample_bias;
    sa2_flow_encoder_layer *layers; /* [layers + up_layers] */
    sa2_tensor norm_weight, norm_bias;
    sa2_matrix mu; /* [mel, width] */
    sa2_tensor mu_bias;
} sa2_flow_encoder;

/* Fills *encoder, or only measures (weights.h). The dtype is w's. */
void sa2_flow_encoder_load(sa2_flow_encoder *encoder, const sa2_flow_config *config, int max_tokens,
                           sa2_weights *w);

/* ---- what is kept of streams ---- */

typedef struct sa2_flow_encoder_cache {
    int slots;         /* streams side by side */
    int max_tokens;    /* of each */
    sa2_tensor kv;     /* [., 2 width] keys | values: layer by layer, in it slot by slot */
    sa2_tensor behind; /* f32 [slots + 1, 2 width]: rows before a chunk, of the second look-ahead */
    sa2_tensor
        upsample; /* f32 [slots + 1, 2 up_stride width]: and of the upsampling; the last are 0 */
} sa2_flow_encoder_cache;

size_t sa2_flow_encoder_cache_bytes(const sa2_flow_config *config, sa2_dtype dtype, int slots,
                                    int max_tokens);

/* In an arena of the backend, which it leaves with the caller. Errors: SA2_ERR_NOMEM; SA2_ERR_LIMIT too many rows. */
sa2_status sa2_flow_encoder_cache_init(sa2_stream *s, sa2_flow_encoder_cache *cache,
                                       const sa2_flow_encoder *encoder, int slots, int max_tokens,
                                       sa2_arena *arena, sa2_error *err);

/* What slot `from` holds of its first n_tokens goes to slot `to`. */
void sa2_flow_encoder_cache_copy(sa2_stream *s, const sa2_flow_encoder *encoder,
                                 const sa2_flow_encoder_cache *to_cache, int to,
                                 const sa2_flow_encoder_cache *from_cache, int from, int n_tokens);

/* ---- forward ---- */

typedef struct sa2_flow_encoder_chunk {
    const int32_t *tokens; /* host [n + lookahead], [n] of a last chunk */
    int n;                 /* to encode: 2 at least unless it is the last */
    bool last;
    int slot;  /* of the cache */
    int first; /* tokens of the stream before: 0 begins a new one */
} sa2_flow_encoder_chunk;

/* Where to keep intermediate values for a check; absent tensors are not kept. f32. */
typedef struct sa2_flow_encoder_stages {
    sa2_tensor embed;    /* [sum n, width] */
    sa2_tensor ahead;    /* [sum n, width]: after the look-ahead, residual included */
    sa2_tensor upsample; /* [up sum n, width]: after its convolution */
    sa2_tensor hidden;   /* [up sum n, width]: before mu */
} sa2_flow_encoder_stages;

/* For chunks of `tokens` tokens in all, look-ahead not counted. */
sa2_flow_room_bytes sa2_flow_encoder_room_bytes(const sa2_flow_config *config, sa2_dtype dtype,
                                                int64_t tokens, int n_chunks);

/* mu [up sum n, mel] f32 of chunks of different streams, each as if it were alone. Without a cache
 * (NULL) every chunk is a whole sequence. stages may be NULL.
 * Errors, before anything is changed: SA2_ERR_ARG a token that is not in [0, vocab), a chunk that is too
 * short; SA2_ERR_LIMIT a stream that becomes longer than max_tokens; SA2_ERR_NOMEM. Those of the ops stay in the stream. */
sa2_status sa2_flow_encoder_forward(sa2_stream *s, const sa2_flow_encoder *encoder,
                                    const sa2_flow_encoder_cache *cache, const sa2_flow_room *room,
                                    sa2_tensor mu, const sa2_flow_encoder_chunk *chunks,
                                    int n_chunks, const sa2_flow_encoder_stages *stages,
                                    sa2_error *err);

/* One layer before the upsampling on x [rows, width] f32 of slot 0, in place; `first` rows came before.
 * attention [rows, width] or absent: what it adds. For checks. */
sa2_status sa2_flow_encoder_layer_forward(sa2_stream *s, const sa2_flow_encoder *encoder, int layer,
                                          const sa2_flow_encoder_cache *cache,
                                          const sa2_flow_room *room, sa2_tensor x, int first,
                                          sa2_tensor attention, sa2_error *err);

#endif
