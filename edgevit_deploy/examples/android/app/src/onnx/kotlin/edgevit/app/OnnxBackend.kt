package edgevit.app

import ai.onnxruntime.OnnxJavaType
import ai.onnxruntime.OnnxTensor
import ai.onnxruntime.OrtEnvironment
import edgevit.core.Backend
import edgevit.core.Manifest
import java.io.File
import java.nio.ByteBuffer
import java.nio.FloatBuffer

/** The target whose files this app loads. */
const val TARGET = "onnx"

fun openBackend(model: File, manifest: Manifest): Backend = OnnxBackend(model, manifest.inputShape)

/** ONNX Runtime on the CPU: NNAPI leaves LayerNorm and Gelu outside, and is deprecated since Android 15. */
class OnnxBackend(model: File, private val shape: LongArray) : Backend {
    override val name = "ONNX Runtime"

    // [snippet: load]
    private val environment = OrtEnvironment.getEnvironment()
    private val session = environment.createSession(model.path)

    override fun run(input: FloatArray): FloatArray = run(OnnxTensor.createTensor(environment, FloatBuffer.wrap(input), shape))

    override fun run(input: ByteArray): FloatArray = // of a file made with --input uint8
        run(OnnxTensor.createTensor(environment, ByteBuffer.wrap(input), shape, OnnxJavaType.UINT8))

    private fun run(input: OnnxTensor): FloatArray = input.use { tensor ->
        session.run(mapOf(session.inputNames.first() to tensor)).use { results ->
            val values = (results[0] as OnnxTensor).floatBuffer
            FloatArray(values.remaining()).also { values.get(it) }
        }
    }
    // [end]

    override fun close() = session.close()
}
