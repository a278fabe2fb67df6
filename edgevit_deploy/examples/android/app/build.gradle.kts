import groovy.json.JsonSlurper

plugins {
    alias(libs.plugins.android.application)
    alias(libs.plugins.kotlin.compose)
}

// The bundle decides which runtime is in the app, so that an APK carries one: its target is also the name of a folder in src/.
// Read by a provider, which Gradle's configuration cache watches: another bundle in its place is another build.
val manifest = layout.projectDirectory.file("src/main/assets/bundle/manifest.json")
check(manifest.asFile.isFile) { "no bundle in $manifest; write this project with: convert.py app android BUNDLE" }
val target = (JsonSlurper().parseText(providers.fileContents(manifest).asText.get()) as Map<*, *>)["target"].toString()
val runtime = when (target) {
    "onnx" -> libs.onnx
    "litert" -> libs.litert
    "executorch" -> libs.executorch
    "ncnn" -> null
    else -> error("this project has no back end for $target; it loads onnx, litert, executorch and ncnn")
}

android {
    namespace = "edgevit.app"
    compileSdk = 36

    defaultConfig {
        applicationId = "edgevit.app"
        minSdk = 26
        targetSdk = 36
        versionCode = 1
        versionName = "1"
        testInstrumentationRunner = "androidx.test.runner.AndroidJUnitRunner"
        if (target == "ncnn") {
            val ncnn = providers.gradleProperty("ncnnDir").orNull
                ?: error("say where ncnn's Android release is unpacked: ncnnDir in gradle.properties, or -PncnnDir=FOLDER")
            externalNativeBuild.cmake.arguments += listOf("-DNCNN_DIR=$ncnn", "-DANDROID_STL=c++_static")
            ndk.abiFilters += listOf("arm64-v8a", "x86_64")
        }
    }
    if (target == "ncnn") externalNativeBuild.cmake.path = file("src/ncnn/cpp/CMakeLists.txt")

    sourceSets.getByName("main").kotlin.directories += "src/$target/kotlin"
    sourceSets.getByName("androidTest") {
        kotlin.directories += "../core/src/vectors/kotlin"
        assets.directories += "../core/src/vectors/resources"
    }

    buildFeatures.compose = true
    // What a runtime maps into memory, and what is hashed at each start, is read faster as it is.
    androidResources.noCompress += listOf("onnx", "tflite", "pte", "bin", "f32")

    compileOptions {
        sourceCompatibility = JavaVersion.VERSION_11
        targetCompatibility = JavaVersion.VERSION_11
    }
}

dependencies {
    implementation(project(":core"))
    implementation(platform(libs.compose.bom))
    implementation(libs.compose.ui)
    implementation(libs.compose.material3)
    implementation(libs.activity.compose)
    implementation(libs.lifecycle.runtime.compose)
    implementation(libs.camera.camera2)
    implementation(libs.camera.lifecycle)
    implementation(libs.camera.view)
    implementation(libs.exifinterface)
    runtime?.let { implementation(it) }

    androidTestImplementation(libs.androidx.junit)
    androidTestImplementation(libs.androidx.runner)
    androidTestImplementation(libs.gson)
}
