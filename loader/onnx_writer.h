/* onnx_writer.h - an ONNX file with the weights of one of the two models, as the release names them.
 *
 * It holds every initializer under its number or name of onnx_names.h and, for each use of one, a node
 * with the name of its module. The nodes are not connected to each other: the file is for readers of
 * weights, not for running. Format: onnx/onnx.proto3. Checked with the onnx package 1.23.2.
 */
#ifndef SA2_LOADER_ONNX_WRITER_H
#define SA2_LOADER_ONNX_WRITER_H

#include "loader/onnx_names.h"
#include "loader/write_progress.h"

/* Writes the tensors of the map, f32 under the PyTorch names. Memory is twice that of the largest
 * tensor. Errors: SA2_ERR_IO with the path; SA2_ERR_ARG a tensor that the model does not have;
 * SA2_ERR_LIMIT more than the 2 GiB of a protobuf message; SA2_ERR_NOMEM; those of the map's makers.
 * Nothing is left of the file then. */
sa2_status sa2_onnx_write(const char *path, sa2_onnx_model model, const sa2_tensor_map *map,
                          sa2_write_progress progress, sa2_error *err);

#endif
