import org.jetbrains.kotlin.gradle.dsl.JvmTarget

// Everything that needs no Android: the manifest, resizing, preprocessing, top-5, verdicts. Its tests run on a desktop.
plugins {
    alias(libs.plugins.kotlin.jvm)
}

kotlin {
    compilerOptions {
        jvmTarget = JvmTarget.JVM_11
    }
    sourceSets["test"].kotlin.srcDir("src/vectors/kotlin")
}

java {
    sourceCompatibility = JavaVersion.VERSION_11
    targetCompatibility = JavaVersion.VERSION_11
}

sourceSets["test"].resources.srcDir("src/vectors/resources")

dependencies {
    implementation(libs.gson)
    testImplementation(libs.junit)
}

tasks.test {
    maxHeapSize = "1g" // one of the pictures has 12 million pixels
    testLogging.showStandardStreams = true
}
