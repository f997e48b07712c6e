/* flow_yaml.h - flow.yaml of a checkpoint: the dimensions of the flow, read as plain data.
 *
 * The file describes Python objects (`!new:package.Class` before a mapping). Here a tag is a word
 * that must be the class that is implemented, and a mapping is a set of numbers; nothing is made or
 * called. Keys that are not needed (dropouts) are ignored.
 */
#ifndef SA2_LOADER_FLOW_YAML_H
#define SA2_LOADER_FLOW_YAML_H

#include <stddef.h>

#include "kernels/base/status.h"

typedef struct sa2_flow_config {
    int width;   /* of a token's embedding and of the encoder */
    int mel;     /* bins that come out */
    int speaker; /* size of the voice vector that goes in */
    int vocab;   /* speech tokens */

    int lookahead; /* tokens that the encoder sees ahead */
    int layers;    /* before the upsampling */
    int up_layers; /* after it */
    int up_stride; /* mel frames for each token */
    int heads;
    int ffn;

    float guidance; /* of the classifier-free kind; 0: none */

    int dit_in; /* noisy mel, encoder output, speaker, prompt mel: 4 * mel */
    int dit_width;
    int dit_heads;
    int dit_head_dim;
    int dit_ffn; /* mlp_ratio * dit_width */
    int dit_blocks;
} sa2_flow_config;

/* Errors, all of one file in one report, each naming the key:
 * SA2_ERR_FORMAT not YAML, a key that is missing, twice, not a number in range, numbers that do not
 * fit together; SA2_ERR_UNSUPPORTED another class or layer type, anchors and aliases, other tags;
 * SA2_ERR_LIMIT size, depth. */
sa2_status sa2_flow_yaml_read(sa2_flow_config *config, const char *path, sa2_error *err);

/* The same from text in memory; `origin` stands for the path. */
sa2_status sa2_flow_yaml_parse(sa2_flow_config *config, const char *text, size_t bytes,
                               const char *origin, sa2_error *err);

/* A flow.yaml with the keys of the release. Errors: SA2_ERR_IO. */
sa2_status sa2_flow_yaml_write(const sa2_flow_config *config, const char *path, sa2_error *err);

#endif
