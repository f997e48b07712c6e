/* speaker_encoder.h - filter bank of a voice to one vector that tells who speaks: CAM++.
 *
 * Maths: Wang et al. 2023, "CAM++: A Fast and Efficient Network for Speaker Verification Using
 * Context-Aware Masking", section 2: a head of 2-d convolutions, densely connected time-delay layers whose
 * output is gated by the mean of their segment and of the clip, mean and deviation over time, one linear layer.
 * Reference: speakerlab/models/campplus of modelscope/3D-Speaker, golden cases speaker_* and cam_dense in
 * tests/golden/token2wav/. Batch norms behind a convolution are folded into it by the exporter, the
 * others are scale and shift here.
 *
 *   fbank [Tf, bins] 100 Hz -> head [Tf, maps * bins / 8] -> tdnn [T', initial], T' = ceil(Tf / 2)
 *   -> three blocks, each halved at its end [T', channels] -> mean | deviation -> [embedding]
 */
#ifndef SA2_RUNTIME_TOKEN2WAV_SPEAKER_ENCODER_H
#define SA2_RUNTIME_TOKEN2WAV_SPEAKER_ENCODER_H

#include "loader/token2wav_tensors.h"
#include "runtime/weights.h"

/* A convolution or linear layer; w.data NULL: there is none. */
typedef struct sa2_speaker_conv {
    sa2_matrix w;
    sa2_tensor bias; /* absent where the layer has none */
} sa2_speaker_conv;

/* What a batch norm is at inference, before a ReLU or behind the last layer. */
typedef struct sa2_speaker_norm {
    sa2_tensor scale, shift;
} sa2_speaker_norm;

/* Two convolutions around a residual: the first of a pair halves the frequencies, its shortcut too. */
typedef struct sa2_speaker_residual {
    sa2_speaker_conv conv1, conv2, shortcut;
} sa2_speaker_residual;

typedef struct sa2_speaker_head {
    sa2_speaker_conv conv1;
    sa2_speaker_residual residuals[4];
    sa2_speaker_conv conv2;
} sa2_speaker_head;

typedef struct sa2_speaker_layer {
    sa2_speaker_norm norm;     /* [channels so far] */
    sa2_speaker_conv narrow;   /* [bottleneck, channels so far] */
    sa2_speaker_conv local;    /* [growth, 3 bottleneck], dilated */
    sa2_speaker_conv gate_in;  /* [gate, bottleneck] */
    sa2_speaker_conv gate_out; /* [growth, gate] */
} sa2_speaker_layer;

typedef struct sa2_speaker_transit {
    sa2_speaker_norm norm;
    sa2_speaker_conv linear; /* [channels / 2, channels] */
} sa2_speaker_transit;

typedef struct sa2_speaker_encoder {
    sa2_speaker_dims dims;
    sa2_speaker_head head;
    sa2_speaker_conv tdnn;
    sa2_speaker_layer *layers; /* of all blocks, one after the other */
    sa2_speaker_transit transits[SA2_SPEAKER_BLOCKS];
    sa2_speaker_conv dense; /* [embedding, 2 channels] */
    sa2_speaker_norm dense_norm;
    sa2_tensor segments; /* i32 [rows at most]: the segment that a row is in */
} sa2_speaker_encoder;

/* Adds the scales and shifts of all batch norms to the map, once, before it is loaded from.
 * Errors: those of loader/fold.h. */
sa2_status sa2_speaker_encoder_fold(sa2_tensor_map *map, sa2_error *err);

/* Fills *encoder, or only measures (weights.h), for clips of up to max_frames frames. */
void sa2_speaker_encoder_load(sa2_speaker_encoder *encoder, const sa2_speaker_dims *dims,
                              int64_t max_frames, sa2_weights *w);

enum { SA2_SPEAKER_LEAST_FRAMES = 3 }; /* a deviation needs two rows */

/* For up to `frames` frames. Scratch is the stream's. */
size_t sa2_speaker_encoder_work_bytes(const sa2_speaker_dims *dims, int64_t frames);
size_t sa2_speaker_encoder_scratch_bytes(const sa2_speaker_dims *dims, int64_t frames);

/* out [1, embedding] f32, not normalised, of one clip: fbank [Tf, bins] f32. `partial` is how the mean of the last
 * segment is taken: releases of onnxruntime differ. work is rewound.
 * Errors: SA2_ERR_ARG fewer frames than SA2_SPEAKER_LEAST_FRAMES; SA2_ERR_LIMIT more than was loaded for;
 * SA2_ERR_NOMEM work too small; those of the ops stay in the stream. */
sa2_status sa2_speaker_encoder_forward(sa2_stream *s, const sa2_speaker_encoder *encoder,
                                       sa2_partial_rule partial, sa2_arena *work, sa2_tensor out,
                                       sa2_tensor fbank, sa2_error *err);

/* ---- for checks ---- */

/* The head alone: out [Tf, maps * bins / 8], channel = bin * maps + map. */
sa2_status sa2_speaker_encoder_head_forward(sa2_stream *s, const sa2_speaker_encoder *encoder,
                                            sa2_arena *work, sa2_tensor out, sa2_tensor fbank,
                                            sa2_error *err);

/* What layer `layer` of block `block`, both from 0, adds: y [T', growth] from x [T', channels so far]. */
sa2_status sa2_speaker_encoder_layer_forward(sa2_stream *s, const sa2_speaker_encoder *encoder,
                                             int block, int layer, sa2_partial_rule partial,
                                             sa2_arena *work, sa2_tensor y, sa2_tensor x,
                                             sa2_error *err);

/* Channels that such a layer reads. */
int64_t sa2_speaker_encoder_channels(const sa2_speaker_dims *dims, int block, int layer);

#endif
