package com.google.ai.edge.litert

/** A stand-in for LiteRT: a model is a text file that says how many bytes its input has; its outputs are two. */
enum class Accelerator { CPU }

data class TensorBufferRequirements(val bufferSize: Int)

class TensorBuffer {
    var written: Any? = null

    fun writeFloat(data: FloatArray) {
        written = data
    }

    fun writeInt8(data: ByteArray) {
        written = data
    }

    fun readFloat() = floatArrayOf(1f, 2f)

    fun close() {
        closed++
    }
}

class CompiledModel private constructor(private val bytes: Int) {
    class Options(val accelerator: Accelerator)

    fun createInputBuffers() = listOf(TensorBuffer())

    fun createOutputBuffers() = listOf(TensorBuffer())

    fun getInputBufferRequirements(inputName: String): TensorBufferRequirements {
        check(inputName == "input")
        return TensorBufferRequirements(bytes)
    }

    fun run(inputs: List<TensorBuffer>, outputs: List<TensorBuffer>) {
        check(outputs.size == 1)
        given = inputs.single().written
    }

    fun close() {
        closed++
    }

    companion object {
        fun create(path: String, options: Options): CompiledModel {
            check(options.accelerator == Accelerator.CPU)
            return CompiledModel(java.io.File(path).readText().toInt())
        }
    }
}

/** What the last run was given, and how much was closed. */
var given: Any? = null
var closed = 0
