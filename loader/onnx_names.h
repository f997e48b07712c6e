/* onnx_names.h - the tensors of the two ONNX files under the names of their PyTorch modules.
 *
 * An exporter numbers the initializers as it goes ("onnx::MatMul_2228") and names the nodes after the
 * modules ("/blocks.0/attn/query/MatMul"). So a tensor is first looked for as the input of the node
 * that it is used by, then under the number that it has in the release's file. A MatMul holds
 * [in, out]; the map shows [out, in].
 * Names of nodes and initializers: the files of stepfun-ai/Step-Audio-2-mini.
 */
#ifndef SA2_LOADER_ONNX_NAMES_H
#define SA2_LOADER_ONNX_NAMES_H

#include <stdbool.h>

#include "loader/tensor_map.h"

typedef enum sa2_onnx_model {
    SA2_ONNX_SPEECH_TOKENIZER,
    SA2_ONNX_SPEAKER,
} sa2_onnx_model;

/* What an ONNX file calls one tensor. */
typedef struct sa2_onnx_name {
    char node[256];        /* that uses it */
    char initializer[256]; /* in the release's file */
    const char *op_type;
    int input;       /* of the node */
    bool transposed; /* a MatMul's weight: [in, out] in the file */
} sa2_onnx_name;

/* The tensor that PyTorch calls `name`; false when the model has no such tensor.
 *   layers  of the speaker model's dense blocks, for the numbers behind them; else unused */
bool sa2_onnx_name_of(sa2_onnx_model model, const char *name, const int *layers,
                      sa2_onnx_name *out);

/* Opens the file at `path`. The caller owns *map: all initializers of f32 under the PyTorch names,
 * as many blocks and layers as the file has; the ones that no name leads to keep their own, so that
 * sa2_tensor_map_check() reports them. Aligned values are taken where they lie.
 * Errors, with the path: those of mapped_file.h and onnx.h; SA2_ERR_FORMAT tensors that neither a
 * node nor a number leads to, all in one report. */
sa2_status sa2_onnx_map_open(sa2_tensor_map **map, sa2_onnx_model model, const char *path,
                             sa2_error *err);

/* The same from bytes in memory that outlive the map; `origin` stands for the path. */
sa2_status sa2_onnx_map_parse(sa2_tensor_map **map, sa2_onnx_model model, const void *bytes,
                              size_t n, const char *origin, sa2_error *err);

#endif
